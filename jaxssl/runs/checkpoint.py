"""Saves and restores training states with Orbax, as plain nested dicts of arrays by path.

The folder of a run holds everything that is needed to resume it, or to rebuild its model elsewhere:

    config.json    every field of the configuration, the version of the code, a fingerprint of the data
    tokenizer/     tokenizer of the text rows or captions
    images.json    shape and labels of the images
    checkpoints/   STEP/state: step, model, optimizer, average, carried (the fields of `TrainState`);
                   STEP/metrics: the evaluation; STEP/sha256.json: hashes of all files
"""

import contextlib
import hashlib
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as managers

from jaxssl.errors import InputError, check_at_least, is_full_disk
from jaxssl.models.plain import to_dict
from jaxssl.runs.checkpoint_folders import check_folder, complete_steps, way_back
from jaxssl.runs.checkpoint_hashes import HashingHandler, damage, write_list
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

    def __post_init__(self) -> None:
        check_at_least(self, 1, "latest")
        check_at_least(self, 0, "every")
        if not self.best:
            raise InputError("best='' must name a metric of the evaluation, such as loss")

    def score(self, metrics: Any) -> float:
        """Returns how good metrics are, more is better; -inf where they lack a finite value of `best`."""
        value = metrics.get(self.best) if isinstance(metrics, dict) else None
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return -math.inf
        return float(value if self.highest else -value)


class OtherShapes(InputError):
    """The arrays of a checkpoint have other names or shapes than those that are wanted."""


class Checkpoints:
    """Saves, keeps and restores the checkpoints of one run; a context manager that closes them.

    Saving is asynchronous: the training step does not wait for the disk.

    Args:
      run: Folder of the run, or its URL on an object store; the checkpoints are in `checkpoints` below
        it, or below the local folder of a run with a URL.
      keep: Which checkpoints are kept when new ones are saved.
      read_only: Whether the checkpoints are only read, possibly while another process is training the
        run. Unfinished checkpoints are then left on disk; otherwise they are deleted.
      verify: Whether the files of a checkpoint are compared with their hashes before it is restored.
      copy_of: URL of the run that `run` is a temporary copy of; errors name it, and propose no command
        for the copy.

    Raises:
      InputError: The folder holds a checkpoint whose metrics or name cannot be read.
    """

    def __init__(
        self,
        run: str | Path,
        keep: Keep = Keep(),
        *,
        read_only: bool = False,
        verify: bool = True,
        copy_of: str = "",
    ):
        self.folder = run_folder(run).absolute() / "checkpoints"
        self.keep, self.read_only, self.verify = keep, read_only, verify
        self.copy_of = copy_of
        self._saving = -1  # the step that is being written
        check_folder(self.folder)
        policies: list[Any] = [
            managers.LatestN(n=keep.latest),
            managers.BestN(
                get_metric_fn=keep.score,
                reverse=False,  # Orbax preserves the end of the sorted list
                n=1,
                keep_checkpoints_without_metrics=False,
            ),
        ]
        if keep.every:
            policies.append(managers.EveryNSteps(interval_steps=keep.every))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=managers.AnyPreservationPolicy(policies),
            best_fn=keep.score,  # makes Orbax write the metrics down
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
            create=False,  # a start that is refused leaves no folder
            async_options=ocp.AsyncOptions(
                post_finalization_callback=lambda: write_list(self.folder, self._saving)
            ),
        )
        try:
            self.manager = ocp.CheckpointManager(
                self.folder, options=options, handler_registry=_handlers()
            )
            best = self.manager.best_step()
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InputError(
                f"the notes of a checkpoint in {self.folder} cannot be used ({error}); move the folder of "
                "that step out of the way, and an earlier one is taken"
            ) from error
        self._best = -math.inf if best is None else keep.score(self.manager.metrics(best))

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
        score = self.keep.score(metrics)
        if metrics is not None:  # JSON has no other numbers
            metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self._best = max(self._best, score)
        with self._full_disk_named():
            self.manager.wait_until_finished()
            self._saving = step
            self.folder.mkdir(parents=True, exist_ok=True)
            self.manager.save(step, args=arguments, metrics=metrics)

    def is_best(self, metrics: dict[str, float] | None) -> bool:
        """Returns whether the `metrics` of an evaluation are better than those of every checkpoint.

        It is False where there is no evaluation, None.
        """
        return self.keep.score(metrics) > self._best

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
            complete = complete_steps(self.folder)
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
        metrics = None if best is None else self.manager.metrics(best)
        if best is None or (metrics is not None and self.keep.score(metrics) == -math.inf):
            return self.latest_step()
        return best

    def latest_step(self) -> int | None:
        """Returns the step of the latest checkpoint, or None if there is none."""
        return self.manager.latest_step()

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
        step = self.latest_step()
        if step is None:
            return None
        nested = self._read(step, to_dict(jax.tree.map(_abstract, state)))
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
        nested = self._read(step, wanted, partial=True)
        return {part: from_nested(tree, nested.get(part, {})) for part, tree in template.items()}

    def _read(self, step: int, wanted: dict[str, Any], partial: bool = False) -> dict[str, Any]:
        """Reads the arrays of `wanted`, nested shapes by name; `partial` allows more in the checkpoint."""
        folder = self.folder / str(step)
        if problem := self._problem(step):
            raise self._damaged(step, problem)
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            with self._named(step):
                held = reader.metadata(folder / "state").item_metadata.tree
                held = {name: held[name] for name in wanted if name in held} if partial else held
                lines = differences(wanted, held)
            if lines:
                more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
                raise OtherShapes(f"checkpoint {folder} has another shape: {lines[0]}{more}")
            restore_args = ocp.checkpoint_utils.construct_restore_args(wanted)
            arguments = ocp.args.PyTreeRestore(
                item=wanted, restore_args=restore_args, partial_restore=partial
            )
            with self._named(step):
                nested: dict[str, Any] = reader.restore(folder / "state", args=arguments)
        if "step" in nested and int(nested["step"]) != step:
            raise self._damaged(step, f"it holds step {int(nested['step'])}")
        return nested

    def _problem(self, step: int) -> str | None:
        """Returns what is wrong with the files of a checkpoint; hosts that resume share the hashing."""
        folder = self.folder / str(step)
        if not self.verify:
            return None if folder.is_dir() else "there is no such checkpoint"
        part, parts = (0, 1) if self.read_only else (jax.process_index(), jax.process_count())
        problem = damage(folder, part=part, parts=parts)
        if parts > 1:
            everyone = np.ravel(multihost_utils.process_allgather(np.int32(problem is not None)))
            if everyone.any() and problem is None:
                problem = f"host {int(everyone.argmax())} says what is wrong"
        return problem

    @contextlib.contextmanager
    def _named(self, step: int) -> Iterator[None]:
        """Turns any error of Orbax in reading a checkpoint into an InputError that names the checkpoint."""
        try:
            yield
        except Exception as error:
            if "RESOURCE_EXHAUSTED" in str(error):  # of memory, not of the file
                raise
            text = str(error).strip().partition("\n")[0][:200]
            raise self._damaged(step, f"{type(error).__name__}: {text}") from error

    def _damaged(self, step: int, problem: str) -> InputError:
        if self.copy_of:
            others = [str(other) for other in complete_steps(self.folder) if other != step]
            back = (
                f"load another one with which={' or '.join(others)}"
                if others
                else "it is the only one"
            )
            return InputError(f"checkpoint {step} of {self.copy_of} is damaged: {problem}; {back}")
        back = way_back(self.folder, step)
        return InputError(f"checkpoint {self.folder / str(step)} is damaged: {problem}; {back}")

    def close(self) -> None:
        """Waits until everything is on disk, and ends the threads of Orbax."""
        self.wait()
        self.manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _handlers() -> ocp.handlers.CheckpointHandlerRegistry:
    """Returns who writes and reads the parts of a checkpoint."""
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    states = HashingHandler()
    registry.add("state", ocp.args.StandardSave, states)
    registry.add("state", ocp.args.StandardRestore, states)
    return registry


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
