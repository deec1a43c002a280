"""What a run folder says of the run: compared with the configuration of a resumed run, then written.

changed = check_resume(run, config, rows)    # raises before anything is written
…                                            # restore the state
write_run(run, config, rows)                 # only now
"""

import dataclasses
import json
import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jax

import jaxssl
from jaxssl.data.stores.descriptions import differing
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.errors import InputError
from jaxssl.runs.description import describe, rebuild
from jaxssl.runs.stored_runs import run_folder

CONFIG = "config.json"
# Fields that say how a command works, not what the run is: they are neither stored nor compared.
OF_COMMAND = ("hosts", "restarts", "profile", "verify", "change_batch")

# Whether a field may change when a run is resumed. `*` stands for any part of a name; a field belongs to
# the longest pattern that fits it or a field around it. docs/resuming.md has the same table.
YES, NO, BY_CHOICE = "yes", "no", "by choice"
MAY_CHANGE = {
    "steps": YES,
    "microbatches": YES,
    "mesh": YES,
    "compiler_options": YES,
    "gradient_sums": YES,
    "report_every": YES,
    "evaluate_every": YES,
    "evaluate_batches": YES,
    "save_every": YES,
    "keep": YES,
    "export": YES,
    "export_at": YES,
    "probe_images": YES,
    "collapse": YES,
    "run": YES,
    "start": YES,
    "optimizer": YES,
    "optimizer.class": NO,
    "optimizer.moments": NO,
    "average": NO,
    "objective": NO,
    "objective.*remat": YES,
    "objective.*unroll": YES,
    "objective.*attention": YES,
    "objective.*sequence_parallel": YES,
    "objective.*momentum.steps": YES,
    "objective.momentum_steps": YES,
    "seed": NO,
    "data.batch": BY_CHOICE,
    "data.weights": NO,
    "data.class": NO,
    "data": YES,
}


@dataclass(frozen=True)
class RunRecord:
    """What `config.json` holds."""

    version: str
    """Version of the code that has written it."""
    data: str
    """Fingerprint of the rows."""
    config: dict[str, Any]
    """Description of the configuration."""
    tokenizer: str = ""
    """Fingerprint of the run's tokenizer; empty without one, and in runs of earlier versions."""


def read_record(folder: Path) -> RunRecord:
    """Returns what the `config.json` in the local `folder` of a run holds.

    Raises:
      InputError: It is missing, cannot be read, or holds something else.
    """
    path = folder / CONFIG
    if not path.exists():
        raise InputError(f"{folder} is no run: it has no {CONFIG}")
    return read_json(path, RunRecord)


def may_change(field: str) -> str:
    """Returns whether a field may change on resume: "yes", "no" or "by choice" (see `MAY_CHANGE`).

    Args:
      field: Dotted name, such as `objective.encoder.width`. A field without a rule may change.
    """
    parts = field.split(".")
    around = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    fitting = [
        pattern for pattern in MAY_CHANGE if any(fnmatchcase(name, pattern) for name in around)
    ]
    return MAY_CHANGE[max(fitting, key=len)] if fitting else YES


def check_resume(run: str | Path, config: Any, rows: Any) -> list[str]:
    """Compares a configuration with the one that the run in a folder began with; nothing is written.

    Args:
      run: Folder of the run, or its URL on an object store.
      config: Configuration, a dataclass.
      rows: Reader of the rows, with a `fingerprint`.

    Returns:
      For a run that was begun before, the fields that have changed since, as lines like
      `optimizer.peak: 0.001 -> 0.0005`; no lines for a new run.

    Raises:
      InputError: A field has changed that may not, or the run was begun with other rows.
    """
    folder = run_folder(run)
    path = folder / CONFIG
    if not path.exists():
        return []
    try:
        record = read_record(folder)
        # It is rebuilt, so that fields which a later version added have their defaults.
        old = _described(rebuild(record.config))
    except InputError as error:
        moved = f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.aside')}"
        raise InputError(
            f"{error}; to write it anew, without a comparison, move it away ({moved}) and run the "
            "same command again"
        ) from error
    changed = differing(old, _described(config))
    for field, before, now in changed:
        _check_field(run, config, field, before, now)
    if record.data != rows.fingerprint and not _differs_in_batch(record, config, changed):
        raise InputError(
            f"{run} was trained on other rows than data.path={config.data.path} holds (fingerprint "
            f"{record.data[:12]}, now {rows.fingerprint[:12]}); set data.path to the prepared set that "
            "it began with, or run to another folder"
        )
    return [f"{field}: {before} -> {now}" for field, before, now in changed]


def write_run(run: str | Path, config: Any, rows: Any) -> None:
    """Writes `config.json` of a run and, for a new run, the description of its rows.

    Of several hosts only the first one writes. `check_resume` must have accepted the configuration, and
    the state must have been restored, so that a command that is refused leaves the run as it was.

    Args:
      run: Folder of the run, or its URL on an object store.
      config: Configuration, a dataclass; the fields in `OF_COMMAND` are not written.
      rows: Reader of the rows, with a `fingerprint`, a `tokenizer` and a method `save_spec(folder)`.
    """
    if jax.process_index():
        return
    folder = run_folder(run)
    described = {
        "version": jaxssl.__version__,
        "data": rows.fingerprint,
        "config": _described(config),
        "tokenizer": rows.tokenizer.fingerprint if rows.tokenizer else "",
    }
    if not (folder / CONFIG).exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows.save_spec(folder)
    write_json(folder / CONFIG, described)


def identity(config: Any, data: str) -> dict[str, str]:
    """Returns what must be equal on all hosts of a run, by name, for `check_hosts_agree`.

    `data` is the fingerprint of the rows, and `config` the configuration of the run.
    """
    return {
        "the version of the code": jaxssl.__version__,
        "the data": data,
        "the configuration": json.dumps(_described(config)),
    }


def _described(config: Any) -> dict[str, Any]:
    """Describes the configuration without the fields that do not change what is computed."""
    return {k: v for k, v in describe(config).items() if k not in OF_COMMAND}


def _check_field(run: str | Path, config: Any, field: str, before: Any, now: Any) -> None:
    """Raises InputError where a field may not change as it has."""
    may = may_change(field)
    if field == "average" and before is not None and now is not None:
        may = YES  # the decay may change; the checkpoint has an average
    if may == NO:
        raise InputError(
            f"{run} cannot go on with {field}={_shown(now)}, was {_shown(before)}; set it back to go "
            "on, or set run to another folder"
        )
    if may == BY_CHOICE and not config.change_batch:
        raise InputError(
            f"{run} was begun with another batch: {field}={now}, was {before}; set it back, or set "
            "change_batch=True (--change-batch) to go on with the new one; the rows that follow are "
            "then others"
        )


def _differs_in_batch(record: RunRecord, config: Any, changed: list[tuple[str, Any, Any]]) -> bool:
    """Returns whether the rows are those of the record except for the number of rows in a batch."""
    batches = [before for field, before, _ in changed if field == "data.batch"]
    if not batches:
        return False
    data = dataclasses.replace(config.data, batch=batches[0])
    return bool(data.open("train", seed=config.seed).fingerprint == record.data)


def _shown(value: Any) -> str:
    """Returns a value of a description, of a class its name alone."""
    if isinstance(value, dict) and "class" in value:
        return str(value["class"]).rpartition(":")[2]
    return str(value)
