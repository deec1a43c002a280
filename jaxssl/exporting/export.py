"""Writes a pretrained model for other tools: files, a model card, and a proof that the numbers are the same.

    export_run("runs/quickstart", "exported/quickstart")                     # for transformers
    export_run("runs/quickstart", "exported/stablehlo", to="stablehlo")

The folder appears when it is complete. A folder that is no export is never written over.
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from jaxssl.data.stores.json_files import write_json
from jaxssl.data.stores.store import is_url
from jaxssl.errors import InputError
from jaxssl.exporting.card import Facts, model_card, versions
from jaxssl.exporting.formats import FORMATS
from jaxssl.exporting.proof import PROOF, check, described, differences, outputs_of, stored_inputs
from jaxssl.exporting.row_content import row_content
from jaxssl.pretrained.load import Pretrained, load_pretrained
from jaxssl.runs.metrics_file import read_records
from jaxssl.runs.resume import CONFIG, read_record
from jaxssl.runs.stored_runs import opened

CARD = "README.md"


@dataclass(frozen=True)
class Exported:
    """What an export has written."""

    folder: Path
    """The folder."""
    what: str
    """What the folder holds, in words."""
    difference: float
    """Largest absolute difference between outputs of the run and of the folder, read back."""
    loading: str
    """Python that loads the folder."""


def export_run(
    run: str | Path,
    folder: str | Path,
    *,
    to: str = "huggingface",
    code: Sequence[str | Path] = (),
) -> Exported:
    """Exports the best checkpoint of a pretraining.

    Args:
      run: Folder of the run, or its URL.
      folder: Folder to write. It must not exist, or be an export, which is replaced.
      to: "huggingface", "sentence-transformers", "stablehlo", "numpy" or "word2vec".
      code: Python files, or names of modules, that define classes which the run's configuration uses.

    Raises:
      InputError: There is no run or no checkpoint, the format does not fit its network, or the folder holds
        something else.
    """
    check_folder(folder)
    pretrained = load_pretrained(run, carried=True, code=code)
    return export_pretrained(pretrained, folder, to=to, facts=facts_of(run, pretrained))


def export_pretrained(
    pretrained: Pretrained, folder: str | Path, *, to: str = "huggingface", facts: Facts
) -> Exported:
    """Exports a loaded model.

    Args:
      pretrained: The model, with everything that is needed to use it.
      folder: Folder to write. It must not exist, or be an export, which is replaced.
      to: The format, one of `FORMATS`.
      facts: What is known of the run, for the model card.

    Raises:
      InputError: The format does not fit the network, or the folder holds something else.
      RuntimeError: What was written computes other numbers when it is read back.
    """
    if to not in FORMATS:
        raise InputError(f"to={to!r} is unknown; use {', '.join(FORMATS)}")
    folder = Path(folder)
    check_folder(folder)
    new = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        written = FORMATS[to](new, pretrained)
        inputs = {} if written.ours else stored_inputs(pretrained)
        ours = written.ours or outputs_of(pretrained, inputs)
        found = differences(ours, written.outputs(inputs))
        check(found, ours)
        largest = max((value for parts in found.values() for value in parts.values()), default=0.0)
        proof = {
            "largest_difference": largest,
            "differences": found,
            "compared": f"float32 outputs of step {pretrained.step} of the run, and of this folder read back",
            "inputs": described(inputs),
            "platform": jax.default_backend(),
            "written_with": versions(),
        }
        card = model_card(pretrained, written, facts, largest, str(folder))
        (new / CARD).write_text(card, encoding="utf-8")
        write_json(new / PROOF, proof, indent=None)
        _replace(folder, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Exported(folder, written.what, largest, written.loading.replace("FOLDER", str(folder)))


def check_folder(folder: str | Path) -> None:
    """Checks that an export may be written to a folder.

    Args:
      folder: The folder.

    Raises:
      InputError: It is a URL or a file, or holds something that is no export.
    """
    if is_url(folder):
        raise InputError(f"{folder} is on an object store; export to a local folder, and copy it")
    folder = Path(folder)
    if not folder.name:
        raise InputError(f"the folder {str(folder)!r} has no name; name a new one")
    if folder.exists() and not is_export(folder):
        raise InputError(
            f"{folder} exists and is no export (it has no {PROOF}); choose another folder"
        )


def is_export(folder: Path) -> bool:
    """Returns whether `folder` is an export, or empty, or holds exports alone."""
    if not folder.is_dir():
        return False
    return (folder / PROOF).is_file() or all(is_export(part) for part in folder.iterdir())


def facts_of(run: str | Path, pretrained: Pretrained) -> Facts:
    """Collects what the model card says of a run.

    Args:
      run: Folder of the run, or its URL.
      pretrained: The model of the run.
    """
    with opened(run) as (folder, _):
        record = read_record(folder) if (folder / CONFIG).is_file() else None
        scores = [
            line
            for line in read_records(folder / "metrics.jsonl")
            if line["kind"] == "valid" and line["step"] == pretrained.step
        ]
    try:
        content = row_content(pretrained.config)
    except InputError:  # the data are elsewhere by now
        content = None
    left_out = ("kind", "step", "time")
    known = {
        name: float(value)
        for name, value in (scores[-1] if scores else {}).items()
        if name not in left_out and isinstance(value, (int, float)) and math.isfinite(value)
    }
    return Facts(str(run), record.data if record else "", content, known)


def _replace(folder: Path, new: Path) -> None:
    """Puts a complete export in the place of an older one; exports inside the old folder stay in it."""
    if not folder.exists():
        new.rename(folder)
        return
    old = folder.with_name(f"{folder.name}.old.partial")
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    new.rename(folder)
    for part in old.iterdir():
        if part.is_dir() and is_export(part) and any(part.iterdir()):
            part.rename(folder / part.name)
    shutil.rmtree(old, ignore_errors=True)
