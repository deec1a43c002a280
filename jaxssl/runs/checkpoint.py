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
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

import jaxssl
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError, is_full_disk
from jaxssl.models.plain import to_dict
from jaxssl.runs.description import changes, describe, rebuild
from jaxssl.runs.paths import differences, from_nested
from jaxssl.runs.stored_runs import opened, run_folder

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
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(described, indent=1), encoding="utf8")
    temporary.replace(path)
    return lines


@dataclass(frozen=True)
class Pretrained:
    """What a run has made: its configuration, what it read, and the parameters of one step."""

    config: Any
    objective: Any
    spec: Any  # TextSpec (of the shortest rows) or ImageSpec
    texts: Tokenizer | None  # None for images without captions
    model: Tree
    step: int
    carried: Tree = ()  # what its objective carries, where it was asked for

    @property
    def tokenizer(self) -> Tokenizer:
        """Of its rows or captions. Raises InputError where it has read no text."""
        if self.texts is None:
            raise InputError("the run has read images and no text; pass a run that read text")
        return self.texts


def load_pretrained(
    run: str | Path,
    *,
    which: Literal["best", "latest"] = "best",
    sharding: Any = None,
    averaged: bool = True,
    carried: bool = False,
) -> Pretrained:
    """The model of a run's best or latest checkpoint: parameters only, no optimizer state.

    `carried`: with what its objective carries, such as running statistics.

    The run may be on an object store. Where it kept an average of the parameters, that is taken unless
    `averaged` is false.
    Raises InputError where there is no run, no checkpoint, or one of another shape.
    """
    with opened(run) as (folder, bring):
        path = folder / "config.json"
        if not path.exists():
            raise InputError(f"{run} is no run: it has no config.json")
        config = rebuild(json.loads(path.read_text(encoding="utf8"))["config"])
        spec, tokenizer = config.data.read_spec(folder)
        checkpoints = Checkpoints(folder, config.keep, read_only=True)
        step = checkpoints.best_step() if which == "best" else checkpoints.manager.latest_step()
        if step is None:
            raise InputError(f"{run} holds no checkpoint yet; train it first")
        bring(f"checkpoints/{step}")
        key = jax.random.key(0)
        template: dict[str, Any] = {}
        name = "average" if averaged and config.average is not None else "model"
        template[name] = jax.eval_shape(lambda: config.objective.init(key, spec))
        if carried:
            template["carried"] = jax.eval_shape(config.objective.init_state, template[name])
        if sharding is None:
            sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        wanted = {
            part: to_dict(jax.tree.map(lambda leaf: _abstract(leaf, sharding), tree))
            for part, tree in template.items()
            if jax.tree.leaves(tree)
        }
        nested = _read(checkpoints.manager, step, wanted, partial=True)
        checkpoints.close()
    found = {part: from_nested(tree, nested.get(part, {})) for part, tree in template.items()}
    return Pretrained(
        config, config.objective, spec, tokenizer, found[name], step, found.get("carried", ())
    )


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
