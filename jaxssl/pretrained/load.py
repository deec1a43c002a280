"""Loads the model of a pretraining run, with its configuration, tokenizer and description of the data."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax

from jaxssl.data.images import ImageSpec
from jaxssl.data.prepared.manifest import TOKENIZER
from jaxssl.data.rows import TextSpec
from jaxssl.data.stores.store import is_url
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.folder import Imported, is_hugging_face, read_folder
from jaxssl.interop.huggingface.origin import Origin, read_origin
from jaxssl.pretrained.imported import (
    PRETRAINING,
    check_only_state,
    describe_import,
    imported_spec,
)
from jaxssl.runs.checkpoint import Checkpoints
from jaxssl.runs.checkpoint_folders import complete_steps
from jaxssl.runs.description import rebuild
from jaxssl.runs.modules import load_code
from jaxssl.runs.resume import CONFIG, RunRecord, read_record
from jaxssl.runs.stored_runs import opened

Tree = Any


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model, with the configuration of its run and the description of its data."""

    config: Any
    """The run's configuration, a `Pretraining`."""
    objective: Any
    """The objective of the configuration."""
    spec: Any
    """Description of the data, a `TextSpec` (of the shortest rows) or an `ImageSpec`."""
    texts: Tokenizer | None
    """Tokenizer of the text rows or captions; None for images without captions."""
    model: Tree
    """The model with the parameters of `step`, averaged where the run kept an average."""
    step: int
    """Number of optimizer steps that the parameters have taken."""
    carried: Tree = ()
    """State that the objective carries, such as running statistics, where it was asked for."""
    origin: Imported | Origin | None = None
    """Hugging Face folder that the network came from; None for a run that was trained."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer of the text rows or captions. Raises InputError if the run has read no text."""
        if self.texts is None and isinstance(self.spec, TextSpec):
            raise InputError(
                "the folder that the network came from has no tokenizer; put its tokenizer.json or vocab.txt "
                "beside config.json, and import it again"
            )
        if self.texts is None:
            raise InputError("the run has read images and no text; pass a run that read text")
        return self.texts

    @property
    def text_network(self) -> Any:
        """Network that reads texts. Raises InputError if the run has read images, or has no network."""
        if isinstance(self.spec, ImageSpec):
            raise InputError(
                "the run has read images, and its network reads no text alone; pass a run that read text, or "
                "embed what it has read with jaxssl.load(run).embed"
            )
        return self.objective.network(self.model)


def load_pretrained(
    run: str | Path,
    *,
    which: Literal["best", "latest"] | int = "best",
    sharding: Any = None,
    averaged: bool = True,
    carried: bool = False,
    code: Sequence[str | Path] = (),
    verify: bool = True,
) -> Pretrained:
    """Loads the model of a run's best or latest checkpoint: the parameters, without optimizer state.

    Args:
      run: Folder of a pretraining run, or its URL on an object store; or a Hugging Face folder as
        `hf:FOLDER`.
      which: "best" takes the checkpoint with the best evaluation, by the metric that the run names in
        `keep`, "latest" the latest one, and a number the checkpoint of that step.
      sharding: Sharding of every array; None puts all arrays on the first device of this host.
      averaged: Whether to load the moving average of the parameters, if the run kept one.
      carried: Whether to load the state that the objective carries, such as running statistics.
      code: Python files, or names of modules, that define classes which the run's configuration uses.
      verify: Whether the files of the checkpoint are compared with their hashes.

    Returns:
      The model with everything that is needed to use it.

    Raises:
      InputError: There is no run or no checkpoint, a file of the run is damaged, the checkpoint has other
        shapes, or the run uses a class that no loaded module defines.
    """
    load_code(code)
    if is_hugging_face(run):
        check_only_state(run, which)
        return _from_hugging_face(run, sharding)
    with opened(run) as (folder, download_arrays):
        record = _read_record(run, folder)
        config = rebuild(record.config)
        # Whoever wrote the run decides nothing here: a set that is missing is not prepared as it says.
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, prepare=None))
        origin = read_origin(folder)
        if origin is None:
            spec, tokenizer = config.data.read_spec(folder)
        else:
            spec, tokenizer = imported_spec(origin, config.objective, folder)
        if record.tokenizer and tokenizer and tokenizer.fingerprint != record.tokenizer:
            raise InputError(
                f"the tokenizer in {run}/{TOKENIZER} is not the one that the run was trained with "
                f"({tokenizer.fingerprint[:12]}…, not {record.tokenizer[:12]}…); restore it"
            )
        url = str(run) if is_url(run) else ""
        opening = Checkpoints(folder, config.keep, read_only=True, verify=verify, copy_of=url)
        with opening as checkpoints:
            step = _step(run, checkpoints, which)
            download_arrays(f"checkpoints/{step}")
            key = jax.random.key(0)
            name = "average" if averaged and config.average is not None else "model"
            template = {name: jax.eval_shape(lambda: config.objective.init(key, spec))}
            if carried:
                template["carried"] = jax.eval_shape(config.objective.init_state, template[name])
            found = checkpoints.restore_parts(step, template, sharding)
    carry = found.get("carried", ())
    return Pretrained(config, config.objective, spec, tokenizer, found[name], step, carry, origin)


def _from_hugging_face(folder: str | Path, sharding: Any) -> Pretrained:
    """Returns the network of a Hugging Face folder as what a run has made, at step 0."""
    found = read_folder(folder, sharding=sharding)
    config = rebuild(describe_import(folder, found.objective, found.spec))
    return Pretrained(
        config,
        found.objective,
        found.spec,
        found.tokenizer,
        found.model,
        0,
        found.carried,
        found,
    )


def _read_record(run: str | Path, folder: Path) -> RunRecord:
    """Returns what the `config.json` of a pretraining run, which is in the local `folder`, holds."""
    if not (folder / CONFIG).exists():
        raise InputError(f"{run} is no run: it has no {CONFIG}")
    record = read_record(folder)
    if record.config.get("class") != PRETRAINING:
        raise InputError(f"{run} is no run of a pretraining: {CONFIG} describes something else")
    return record


def _step(run: str | Path, checkpoints: Checkpoints, which: str | int) -> int:
    """Returns the step of the checkpoint to load."""
    steps = complete_steps(checkpoints.folder)
    if not steps:
        raise InputError(f"{run} holds no checkpoint yet; train it first")
    if isinstance(which, int):
        if which not in steps:
            listed = ", ".join(map(str, steps))
            raise InputError(f"{run} has no checkpoint of step {which}; it has those of {listed}")
        return which
    step = checkpoints.best_step() if which == "best" else checkpoints.latest_step()
    assert step is not None
    return step
