"""Checkpoints: Orbax behind one small class. On disk: a plain nested dict of arrays by path.

A run's folder holds all that is needed to go on, or to build the model elsewhere:

    config.json    what was run: every field of the configuration, and the code's version
    tokenizer/     the tokenizer of its rows or captions
    images.json    the shape and the labels of its images
    checkpoints/   STEP/state: step, model, optimizer, average, carried
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

# Orbax tells through absl of every option that it adjusts; what matters it raises as well.
logging.getLogger("absl").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Keep:
    """Which checkpoints stay: always the latest, and the best by a metric of the evaluation."""

    latest: int = 2
    best: str = "loss"
    highest: bool = False  # whether a higher value of the metric is better
    every: int = 0  # also every n steps, for ever; 0 = none


class Checkpoints:
    """Saves without making the step wait, keeps the latest and the best, restores into a sharding.

    `read_only` looks at a run that another process may be training: nothing is cleaned up.
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
        """Starts to save; returns when the arrays are copied. An error shows at the next call."""
        step = int(state.step)
        if step in self.manager.all_steps():
            return
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(to_dict(state)))
        with self._full_disk_named():
            self.manager.save(step, args=arguments, metrics=metrics)

    def wait(self) -> None:
        """Until what was being saved is on disk. Raises InputError where the disk is full."""
        with self._full_disk_named():
            self.manager.wait_until_finished()

    @contextlib.contextmanager
    def _full_disk_named(self) -> Iterator[None]:
        """A full disk becomes an InputError that says which checkpoint is left."""
        try:
            yield
        except Exception as error:
            if not is_full_disk(error):
                raise
            complete = [int(path.name) for path in self.folder.iterdir() if path.name.isdigit()]
            left = f"that of step {max(complete):,} is complete" if complete else "none is complete"
            raise InputError(
                f"the disk is full: a checkpoint in {self.folder} could not be written, {left}; "
                "free some space, or set a smaller --keep.latest; the same command goes on from it"
            ) from error

    def best_step(self) -> int | None:
        """The step with the best evaluation; the latest where none was evaluated."""
        best = self.manager.best_step()
        return self.manager.latest_step() if best is None else best

    def restore_latest(self, state: Tree) -> Tree | None:
        """The latest state in the sharding of `state`, or None where nothing was saved."""
        step = self.manager.latest_step()
        if step is None:
            return None
        nested = _read(self.manager, step, to_dict(jax.tree.map(_abstract, state)))
        return from_nested(state, nested)

    def restore_best_model(self, model: Tree, sharding: Any = None) -> tuple[int, Tree]:
        """The best step and its parameters, in the form of `model`: arrays or, with `sharding`, shapes."""
        self.wait()
        step = self.best_step()
        if step is None:
            raise InputError(f"{self.folder} holds no checkpoint yet; train it first")
        wanted = jax.tree.map(lambda leaf: _abstract(leaf, sharding), model)
        nested = _read(self.manager, step, {"model": to_dict(wanted)}, partial=True)
        return step, from_nested(model, nested["model"])

    def restore_parts(
        self, step: int, template: dict[str, Tree], sharding: Any = None
    ) -> dict[str, Tree]:
        """Restores some parts of the state of a step.

        Args:
          step: Step of a checkpoint.
          template: Shapes and types of what is wanted, by the name of the part ("model", "average", …).
          sharding: Sharding of every array; None puts all on the first device of this host.

        Returns:
          The parts by name, in the form of `template`.

        Raises:
          InputError: The checkpoint cannot be read, or holds other shapes.
        """
        if sharding is None:
            sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        wanted = {
            part: to_dict(jax.tree.map(lambda leaf: _abstract(leaf, sharding), tree))
            for part, tree in template.items()
            if jax.tree.leaves(tree)
        }
        nested = _read(self.manager, step, wanted, partial=True)
        return {part: from_nested(tree, nested.get(part, {})) for part, tree in template.items()}

    def close(self) -> None:
        self.wait()
        self.manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def identity(config: Any, data: str) -> dict[str, str]:
    """What all hosts of a run must have in common, by name."""
    return {
        "the version of the code": jaxssl.__version__,
        "the data": data,
        "the configuration": json.dumps(_described(config)),
    }


def _described(config: Any) -> dict[str, Any]:
    """The configuration less what differs between hosts and does not change the run."""
    return {k: v for k, v in describe(config).items() if k not in ("hosts", "restarts")}


def write_run(run: str | Path, config: Any, rows: Any) -> list[str]:
    """Writes config.json of a new run, and what its rows are; of an old one, returns what has changed.

    Of many hosts the first one writes.
    Raises InputError where a change means another model or other data under the same name.
    """
    folder, data = run_folder(run), rows.fingerprint
    described = {"version": jaxssl.__version__, "data": data, "config": _described(config)}
    path = folder / "config.json"
    if path.exists():
        old = json.loads(path.read_text(encoding="utf8"))
        if old["data"] != data:
            raise InputError(
                f"{folder} was trained on other rows (fingerprint {old['data'][:12]}, now "
                f"{data[:12]}); choose another --run, or the data set that it began with"
            )
        # Rebuilt: a field that a later version added has its default.
        lines = changes(_described(rebuild(old["config"])), described["config"])
        if fatal := [line for line in lines if line.startswith("objective.")]:
            raise InputError(f"{folder} holds another model ({fatal[0]}); choose another --run")
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
    folder = Path(manager.directory) / str(step) / "state"
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        try:
            held = reader.metadata(folder).item_metadata.tree
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
    """sha256 over all leaves by path: equal exactly if the trees are bitwise equal."""
    total = hashlib.sha256()
    nested = jax.tree_util.tree_flatten_with_path(to_dict(tree))[0]
    for keys, leaf in nested:
        total.update(str(keys).encode())
        total.update(np.asarray(leaf).tobytes())
    return total.hexdigest()
