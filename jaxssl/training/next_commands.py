"""The commands that a finished run can be used with, which its last lines propose."""

import shlex
from typing import Any

from jaxssl.data.images import Images
from jaxssl.errors import InputError
from jaxssl.models.pretraining.word_vectors import WordVectorModel
from jaxssl.pretrained.images import has_image_encoder
from jaxssl.runs.modules import file_of
from jaxssl.training.config import Pretraining

LABELLED = "train.tsv"  # file of the user's, with the columns text and label
LINES = "texts.txt"  # file of the user's, with one text a line


def next_commands(config: Pretraining, model: Any, spec: Any) -> list[str]:
    """Returns a line for each command that works with the run, such as "finetune it: jaxssl finetune …".

    Args:
      config: Configuration of the run.
      model: Its model, with arrays or shapes.
      spec: Description of its data.
    """
    run, objective = shlex.quote(config.run), config.objective
    file = file_of(type(objective))
    code = "" if file is None else f" --code {shlex.quote(file)}"
    if isinstance(config.data, Images):
        if not has_image_encoder(model):
            return []
        if spec.labels:
            return [f"judge its features: jaxssl probe {run}{code}"]
        return [
            f"judge its features on a prepared set with labels: jaxssl probe {run}{code} --data SET"
        ]
    if isinstance(model, WordVectorModel):
        return [f"look at its vectors: jaxssl words {run}{code} --into vectors.txt"]
    try:
        network = objective.finetuning_config(model)
    except InputError:  # the objective says that it has no network for other tasks
        return []
    if not hasattr(network, "causal"):
        return []
    return [
        f"finetune it on texts with labels: jaxssl finetune finetune_text{code} --task.checkpoint {run} "
        f"--data.train {LABELLED}",
        f"embed texts, one a line: jaxssl embed {run}{code} {LINES} --into vectors.npy",
    ]
