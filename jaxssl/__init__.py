"""Self-supervised pretraining in JAX and Flax: raw text or images to a checkpoint and a finetuned model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxssl.help_text import show_fields as show_fields

if TYPE_CHECKING:
    from jaxssl.trained import TrainedModel

__version__ = "0.1.0"


def load(run: str | Path, *, code: Sequence[str | Path] = ()) -> "TrainedModel":
    """Loads what a run has learned: the best checkpoint of a pretraining or of a finetuning.

        model = jaxssl.load("runs/quickstart")
        model.embed(["two dogs run", "a cat sleeps"])
        model.fill("the [MASK] of the list")

    Args:
      run: Folder of a run, or its address on an object store. The folder of a finetuning stands for its
        folder `pretrained`. Of several seeds the best on dev is taken.
      code: Python files, or names of modules, that define classes of the user's own which the run was
        made with.

    Returns:
      An object with the methods `embed`, `fill` and `predict`. Each works for the runs that can serve it, and
      says for others what they can do instead.

    Raises:
      InputError: There is no run, or it has no checkpoint.
    """
    from jaxssl.trained import load_trained  # JAX is imported only here

    return load_trained(run, code=code)
