"""Saves and restores training states with Orbax, as plain nested dicts of arrays by path.

The folder of a run holds everything that is needed to resume it, or to rebuild its model elsewhere:

    config.json    every field of the configuration, the version of the code, a fingerprint of the data
    tokenizer/     tokenizer of the text rows or captions
    images.json    shape and labels of the images
    checkpoints/   STEP/state: step, model, optimizer, average, carried (the fields of `TrainState`)
"""

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

import jaxssl
from jaxssl.data.stores.descriptions import changes
from jaxssl.data.stores.json_files import write_json
from jaxssl.errors import InputError, is_full_disk
from jaxssl.models.plain import to_dict
from jaxssl.runs.description import describe, rebuild
from jaxssl.runs.paths import differences, from_nested
from jaxssl.runs.stored_runs import run_folder

Tree = Any

# Orbax logs every option that it adjusts through absl. Real problems are raised as exceptions as well.
logging.getLogger("absl").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Keep:
    """Which checkpoints stay on disk: the latest ones, and the best by a metric of the evaluation."""

    latest: int = 2
    """Number of latest checkpoints that are kept."""
    best: str = "loss"
    """Name of the evaluation metric whose best checkpoint is kept as well."""
    highest: bool = False
    """Whether the best checkpoint is the one with the highest value of the metric, not the lowest."""
    every: int = 0
    """Checkpoints whose step is a multiple of this number are never deleted; 0 exempts none."""


class Checkpoints:
    """Saves, keeps and restores the checkpoints of one run; a context manager that closes them.

    Saving is asynchronous: the training step does not wait for the disk.

    Args:
      run: Folder of the run, or its URL on an object store; the checkpoints are in `checkpoints` below
        it, or below the local folder of a run with a URL.
      keep: Which checkpoints are kept when new ones are saved.
      read_only: Whether the checkpoints are only read, possibly while another process is training the
        run. Unfinished checkpoints are then left on disk; otherwise they are deleted.
    """

    def __init__(self, run: str | Path, keep: Keep = Keep(), *, read_only: bool = False):
        self.folder = run_folder(run).absolute() / "checkpoints"
        self.keep = keep
        policies: list[Any] = [
            managers.LatestN(n=keep.latest),
            managers.BestN(
                get_metric_fn=lambda metrics: metrics[keep.best],
                reverse=not keep.highest,  # Orbax preserves the end of the sorted list
                n=1,
                keep_checkpoints_without_metrics=False,
            ),
        ]
        if keep.every:
            policies.append(managers.EveryNSteps(interval_steps=keep.every))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=managers.AnyPreservationPolicy(policies),
            best_fn=lambda metrics: metrics[keep.best],  # makes Orbax write the metrics down
            best_mode="max" if keep.highest else "min",
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
        )
        self.manager = ocp.CheckpointManager(self.folder, options=options, item_names=("state",))

    def save(self, state: Tree, metrics: dict[str, float] | None = None) -> None:
        """Starts to save a training state, and returns as soon as its arrays have been copied.

        The files are written in the background. An error in doing so is raised by the next call. A step
        that is saved already is not saved again.

        Args:
          state: Training state, a pytree with a field `step`.
          metrics: Metrics of the evaluation after this step, by name, among them `Keep.best`; None where
            the step was not evaluated.

        Raises:
          InputError: The disk is full.
        """
        step = int(state.step)
        if step in self.manager.all_steps():
            return
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(to_dict(state)))
        with self._full_disk_named():
            self.manager.save(step, args=arguments, metrics=metrics)

    def wait(self) -> None:
        """Waits until everything is on disk. Raises InputError if the disk is full."""
        with self._full_disk_named():
            self.manager.wait_until_finished()

    @contextlib.contextmanager
    def _full_disk_named(self) -> Iterator[None]:
        """Turns the error of a full disk into an InputError that names the last complete checkpoint."""
        try:
            yield
        except Exception as error:
            if not is_full_disk(error):
                raise
            complete = [int(path.name) for path in self.folder.iterdir() if path.name.isdigit()]
            left = f"that of step {max(complete):,} is complete" if complete else "none is complete"
            raise InputError(
                f"the disk is full: a checkpoint in {self.folder} could not be written, {left}; "
                "free some space, or set a smaller keep.latest; the same command goes on from it"
            ) from error

    def best_step(self) -> int | None:
        """Returns the step with the best evaluation, or the latest step if none was evaluated.

        None is returned if there is no checkpoint.
        """
        best = self.manager.best_step()
        return self.manager.latest_step() if best is None else best

    def restore_latest(self, state: Tree) -> Tree | None:
        """Restores the latest training state.

        Args:
          state: Training state, or its shapes (`jax.ShapeDtypeStruct` with a sharding), that gives the
            structure, shapes, dtypes and shardings of the result.

        Returns:
          The latest state, or None if nothing was saved.

        Raises:
          InputError: The checkpoint cannot be read, or its arrays have other names or shapes.
        """
        step = self.manager.latest_step()
        if step is None:
            return None
        nested = _read(self.manager, step, to_dict(jax.tree.map(_abstract, state)))
        return from_nested(state, nested)

    def restore_best_model(self, model: Tree, sharding: Any = None) -> tuple[int, Tree]:
        """Restores the parameters of the best step.

        Args:
          model: Model that gives the structure, shapes and dtypes: with arrays, or with shapes
            (`jax.ShapeDtypeStruct`) if `sharding` is given.
          sharding: Sharding of every array; None takes that of each array of `model`.

        Returns:
          The best step, as `best_step` defines it, and the model with its parameters.

        Raises:
          InputError: There is no checkpoint, or it cannot be read, or it has other shapes.
        """
        self.wait()
        step = self.best_step()
        if step is None:
            raise InputError(f"{self.folder} holds no checkpoint yet; train it first")
        return step, self.restore_parts(step, {"model": model}, sharding)["model"]

    def restore_parts(
        self, step: int, template: dict[str, Tree], sharding: Any = None
    ) -> dict[str, Tree]:
        """Restores some parts of the training state of a step.

        Args:
          step: Step of a checkpoint.
          template: Structure, shapes and dtypes of each wanted part, by its name ("model", "average", …).
          sharding: Sharding of every array; None takes that of each array of `template`, and the first
            device of this host for shapes that have none.

        Returns:
          The parts by name, in the structure of `template`.

        Raises:
          InputError: The checkpoint cannot be read, or its arrays have other shapes.
        """
        first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

        def abstract(leaf: Any) -> Any:
            return _abstract(leaf, sharding or leaf.sharding or first)

        wanted = {
            part: to_dict(jax.tree.map(abstract, tree))
            for part, tree in template.items()
            if jax.tree.leaves(tree)
        }
        nested = _read(self.manager, step, wanted, partial=True)
        return {part: from_nested(tree, nested.get(part, {})) for part, tree in template.items()}

    def close(self) -> None:
        """Waits until everything is on disk, and ends the threads of Orbax."""
        self.wait()
        self.manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
    return {k: v for k, v in describe(config).items() if k not in ("hosts", "restarts", "profile")}


def write_run(run: str | Path, config: Any, rows: Any) -> list[str]:
    """Writes `config.json` of a run and, for a new run, the description of its rows.

    Of several hosts only the first one writes.

    Args:
      run: Folder of the run, or its URL on an object store.
      config: Configuration, a dataclass; its fields `hosts`, `restarts` and `profile` are not written.
      rows: Reader of the rows, with a `fingerprint` and a method `save_spec(folder)`.

    Returns:
      For a run that was begun before, the fields of the configuration that have changed since, as lines
      like `optimizer.peak: 0.001 -> 0.0005`; no lines for a new run.

    Raises:
      InputError: The run was begun with other rows, or with another objective.
    """
    folder, data = run_folder(run), rows.fingerprint
    described = {"version": jaxssl.__version__, "data": data, "config": _described(config)}
    path = folder / "config.json"
    if path.exists():
        old = json.loads(path.read_text(encoding="utf8"))
        if old["data"] != data:
            raise InputError(
                f"{folder} was trained on other rows (fingerprint {old['data'][:12]}, now "
                f"{data[:12]}); set run to another folder, or data to the rows that it began with"
            )
        # The old configuration is rebuilt, so that fields which a later version added have their defaults.
        lines = changes(_described(rebuild(old["config"])), described["config"])
        if fatal := [line for line in lines if line.startswith("objective.")]:
            raise InputError(
                f"{folder} holds another model ({fatal[0]}); set run to another folder"
            )
    else:
        lines = []
    if jax.process_index():
        return lines
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows.save_spec(folder)
    write_json(path, described)
    return lines


def _read(manager: Any, step: int, wanted: dict[str, Any], partial: bool = False) -> dict[str, Any]:
    """Reads the arrays of `wanted`, nested shapes by name; `partial` allows the checkpoint to hold more."""
    folder = Path(manager.directory) / str(step) / "state"
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        try:
            metadata = reader.metadata(folder).item_metadata
            if metadata is None:
                raise FileNotFoundError("it is incomplete or missing")
            held = metadata.tree
        except (FileNotFoundError, KeyError, ValueError) as error:
            raise InputError(f"checkpoint {folder} cannot be read: {error}") from error
        held = {name: held[name] for name in wanted if name in held} if partial else held
        if lines := differences(wanted, held):
            more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
            raise InputError(f"checkpoint {folder} has another shape: {lines[0]}{more}")
        restore_args = ocp.checkpoint_utils.construct_restore_args(wanted)
        arguments = ocp.args.PyTreeRestore(
            item=wanted, restore_args=restore_args, partial_restore=partial
        )
        return reader.restore(folder, args=arguments)


def _abstract(leaf: Any, sharding: Any = None) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding or leaf.sharding)


def digest(tree: Tree) -> str:
    """Returns the sha256 of the leaves of `tree` and their paths: equal if two trees are bitwise equal."""
    total = hashlib.sha256()
    nested = jax.tree_util.tree_flatten_with_path(to_dict(tree))[0]
    for keys, leaf in nested:
        total.update(str(keys).encode())
        total.update(np.asarray(leaf).tobytes())
    return total.hexdigest()
