"""Import a Hugging Face folder as a run: everything that reads runs then reads it.

  jaxssl import bert-base-uncased runs/bert
  jaxssl embed runs/bert sentences.txt --into vectors.npy

The folder must hold config.json and safetensors, and for texts a tokenizer. Tensors that it lacks begin with
random parameters, and those that no parameter is read from are kept for the export; both are listed. Other
commands also take a folder itself, as hf:FOLDER.
"""

import argparse
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import jaxssl
from jaxssl.data.prepared.manifest import TOKENIZER
from jaxssl.data.rows import TextSpec
from jaxssl.data.stores.json_files import write_json
from jaxssl.data.stores.store import is_url
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.folder import HF, Imported, read_folder
from jaxssl.interop.huggingface.origin import write_origin
from jaxssl.pretrained.imported import describe_import
from jaxssl.runs.checkpoint import Checkpoints
from jaxssl.runs.resume import CONFIG
from jaxssl.tools.output_files import check_output_folder
from jaxssl.training.step import TrainState

SHOWN = 8  # names of tensors in a line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl import` to `parser`."""
    parser.add_argument("folder", metavar="FOLDER", help="Hugging Face folder")
    parser.add_argument("into", metavar="RUN", help="folder of the run to write; it must not exist")


def run(options: argparse.Namespace) -> None:
    """Imports a folder, as `options` say, and prints what was found."""
    folder = options.folder.removeprefix(HF)
    check_new(options.into)
    found = read_folder(folder)
    import_run(folder, found, Path(options.into))
    print("\n".join(report(folder, found, options.into)))


def check_new(into: str) -> None:
    """Raises InputError where the folder `into` of the run cannot be written, or holds something already."""
    if is_url(into):
        raise InputError(f"{into} is on an object store; import into a local folder, and copy that")
    check_output_folder(into, "RUN")
    if Path(into).exists() and any(Path(into).iterdir()):
        raise InputError(f"{into} holds something already; name a folder that does not exist")


def import_run(folder: str | Path, found: Imported, into: Path) -> None:
    """Writes the run of an imported network; the folder is either complete or absent.

    Args:
      folder: The Hugging Face folder.
      found: What it holds.
      into: Folder of the run.
    """
    new = into.with_name(f".{into.name}.{os.getpid()}.tmp")
    new.mkdir(parents=True)
    try:
        folder = Path(folder).absolute()
        write_json(
            new / CONFIG,
            {
                "version": jaxssl.__version__,
                "data": "",
                "config": describe_import(folder, found.objective, found.spec),
                "tokenizer": found.tokenizer.fingerprint if found.tokenizer else "",
            },
        )
        if found.tokenizer is not None:
            found.tokenizer.save(new / TOKENIZER)
        write_origin(new, str(folder), found)
        with Checkpoints(new) as checkpoints:
            step = jnp.zeros((), jnp.int32)
            checkpoints.save(TrainState(step, found.model, (), (), found.carried))
        if into.exists():
            into.rmdir()  # it is empty
        new.replace(into)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def report(folder: str, found: Imported, into: str) -> list[str]:
    """Returns the lines that say what was imported.

    Args:
      folder: The Hugging Face folder.
      found: What it holds.
      into: Folder of the run.
    """
    sizes = [leaf.size for leaf in jax.tree.leaves(found.model)]
    lines = [
        f"{folder}: {found.architecture}, {found.dtype}, {sum(sizes):,} parameters, as "
        f"{type(found.objective).__name__}"
    ]
    lines += _listed("missing, so that they begin with random parameters", found.missing)
    lines += _listed("not used, but kept for the export", found.unused.names)
    quoted = shlex.quote(into)
    if not isinstance(found.spec, TextSpec):
        return [*lines, f"{into} is a run"]
    if found.tokenizer is None:
        lines.append(
            "no tokenizer: texts cannot be read; put tokenizer.json or vocab.txt into the folder"
        )
        return [*lines, f"{into} is a run"]
    return [
        *lines,
        f"{into} is a run; go on with",
        f"  jaxssl embed {quoted} FILE --into vectors.npy",
        f"  jaxssl finetune finetune_text --task.checkpoint {quoted} --data.train labelled.tsv",
    ]


def _listed(what: str, names: Any) -> list[str]:
    """A line with names of tensors; none without names."""
    if not names:
        return []
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"  {what}: {', '.join(names[:SHOWN])}{more}"]
