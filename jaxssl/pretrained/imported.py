"""Networks of Hugging Face folders as runs: the configuration and the description that a run has."""

from pathlib import Path
from typing import Any

from jaxssl.data.images import ImageSpec
from jaxssl.data.prepared.manifest import TOKENIZER
from jaxssl.data.rows import TextSpec
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.family import family_of
from jaxssl.interop.huggingface.folder import HF
from jaxssl.interop.huggingface.origin import Origin
from jaxssl.runs.description import describe

PRETRAINING = "jaxssl.training.config:Pretraining"  # class of the configuration of a run


def describe_import(
    folder: str | Path, objective: Any, spec: TextSpec | ImageSpec
) -> dict[str, Any]:
    """Describes the run that an imported network stands for, as `description.describe` does.

    Args:
      folder: The Hugging Face folder. It takes the place of the prepared set.
      objective: Objective of the network.
      spec: Description of what the network reads.

    Returns:
      Description of a `Pretraining`.
    """
    kind = "jaxssl.data.images:Images" if isinstance(spec, ImageSpec) else "jaxssl.data.rows:Rows"
    return {
        "class": PRETRAINING,
        "data": {"class": kind, "path": f"{HF}{str(folder).removeprefix(HF)}"},
        "objective": describe(objective),
    }


def imported_spec(
    origin: Origin, objective: Any, run: Path
) -> tuple[TextSpec | ImageSpec, Tokenizer | None]:
    """Returns the description of what the network of an imported run reads, and its tokenizer.

    Args:
      origin: What the run keeps of the folder that it was imported from.
      objective: Objective of the run.
      run: Folder of the run. Without a tokenizer in it, the second value is None.
    """
    folder = run / TOKENIZER
    tokenizer = load_tokenizer(folder) if folder.is_dir() else None
    return family_of(origin.config).spec(origin.config, objective, tokenizer), tokenizer


def check_only_state(run: str | Path, which: str | int) -> None:
    """Raises InputError where `which` names a step of a `run` that is a Hugging Face folder."""
    if isinstance(which, int) and which != 0:
        raise InputError(
            f"{run} is a Hugging Face folder and has one set of parameters, at step 0, not {which}; leave "
            "the step out"
        )
