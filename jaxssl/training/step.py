"""The training step: corrupt the global batch, split it into microbatches, add up gradients, update.

How the gradients of microbatches are added up is in `gradients.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Int

from jaxssl.data.images import LABELS, REAL, ImageSpec
from jaxssl.errors import InputError
from jaxssl.objectives.batches.batch import Images, Ratio, Text, Vocabulary
from jaxssl.objectives.batches.rows_apart import corrupt_apart
from jaxssl.objectives.contract import moving_average
from jaxssl.optimizers.host_moments import OnHost, check_host_memory, on_host, to_device, to_host
from jaxssl.sharding.layout import path_of
from jaxssl.sharding.mesh import batch_sharding, state_shardings
from jaxssl.training.check_views import check_views
from jaxssl.training.compiler_options import options_for
from jaxssl.training.config import Pretraining
from jaxssl.training.gradients import Metrics, gradients_of

Tree = Any
Arrays = Mapping[str, Array]  # of a batch, by name


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything that changes from step to step, which is everything that a checkpoint holds."""

    step: Int[Array, ""]
    """Number of steps taken, int32 scalar."""
    model: Tree
    """Parameters of the network with its heads."""
    optimizer: Tree
    """State of the optimizer, such as Adam's moments."""
    average: Tree
    """Exponential moving average of the parameters; `()` where none is kept."""
    carried: Tree
    """State of the objective that is not differentiated, such as a teacher (`Objective.init_state`)."""

    @property
    def evaluated(self) -> Tree:
        """Returns the parameters to evaluate and use: their moving average where the run keeps one."""
        return self.model if isinstance(self.average, tuple) else self.average


def create_state(
    config: Pretraining,
    optimizer: optax.GradientTransformation,
    spec: Any,
    mesh: Mesh,
    learned: Mapping[str, Any] | None = None,
) -> TrainState:
    """Makes the state of a new run, directly in its sharding: no device ever holds all of it.

    Args:
      config: Configuration of the run, a `Pretraining`; its objective, seed and average are read.
      optimizer: Optimizer whose state is made.
      spec: Description of the batch, a `TextSpec` or an `ImageSpec`.
      mesh: Devices that the state is sharded over.
      learned: Arrays by the path of the parameter that begins with them; the other parameters are random.

    Raises:
      InputError: A size does not divide over the mesh, or an array of `learned` has another shape.
    """
    create = state_maker(config, optimizer, spec)
    shardings = shardings_of(abstract_state(config, optimizer, spec, mesh))
    given = {path: np.asarray(array) for path, array in (learned or {}).items()}
    return jax.jit(create, out_shardings=shardings)(jax.random.key(config.seed), given)


def abstract_state(
    config: Pretraining, optimizer: optax.GradientTransformation, spec: Any, mesh: Mesh
) -> TrainState:
    """Describes the state of a run without computing it.

    Args:
      config: Configuration of the run, a `Pretraining`.
      optimizer: Optimizer of the run.
      spec: Description of the batch, a `TextSpec` or an `ImageSpec`.
      mesh: Devices that the state is sharded over.

    Returns:
      A state whose leaves are `jax.ShapeDtypeStruct` with shape, type and sharding.

    Raises:
      InputError: A size does not divide over the mesh, or an augmentation does not fit the images.
    """
    check_views(config.objective, spec)
    create = state_maker(config, optimizer, spec)
    shapes = jax.eval_shape(create, jax.random.key(config.seed), {})

    def with_sharding(leaf: Any, sharding: Any) -> Any:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    shardings = state_shardings(shapes, mesh)
    if isinstance(optimizer, OnHost):
        check_host_memory(mesh)
        moments = on_host(shapes.optimizer, shardings.optimizer)
        shardings = replace(shardings, optimizer=moments)
    return jax.tree.map(with_sharding, shapes, shardings)


def abstract_batch(spec: Any, mesh: Mesh) -> dict[str, Any]:
    """Describes the arrays of a batch of `spec`, by name, with their sharding over `mesh`."""
    sharding = batch_sharding(mesh)
    return {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)
        for name, array in abstract_arrays(spec).items()
    }


def abstract_arrays(spec: Any) -> dict[str, Any]:
    """Shape and type of the arrays of a batch that `spec` describes, by name."""
    texts = spec
    arrays: dict[str, Any] = {}
    if isinstance(spec, ImageSpec):
        texts = spec.captions
        shape = (spec.batch, spec.height, spec.width, spec.channels)
        arrays["images"] = jax.ShapeDtypeStruct(shape, np.uint8)
    if texts is not None:
        arrays["tokens"] = jax.ShapeDtypeStruct((spec.batch, texts.length), np.int32)
    return arrays


def shardings_of(state: TrainState) -> TrainState:
    """Returns the sharding of every leaf of `state`, which may be abstract."""
    return jax.tree.map(lambda leaf: leaf.sharding, state)


def state_maker(
    config: Pretraining, optimizer: optax.GradientTransformation, spec: Any
) -> Callable[[Array, Mapping[str, Array]], TrainState]:
    """Returns the function that makes a new state of a random key and the arrays that are not random.

    Args:
      config: Configuration of the run, a `Pretraining`.
      optimizer: Optimizer of the run.
      spec: Description of the batch, a `TextSpec` or an `ImageSpec`.
    """
    objective = config.objective

    def create(key: Array, learned: Mapping[str, Array]) -> TrainState:
        model = strongly_typed(with_learned(objective.init(key, spec), learned))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            model=model,
            optimizer=strongly_typed(optimizer.init(model)),
            average=() if config.average is None else jax.tree.map(jnp.copy, model),
            carried=strongly_typed(objective.init_state(model)),
        )

    return create


def strongly_typed(tree: Tree) -> Tree:
    """Returns the arrays of `tree` with types that no other type gives way to.

    `jnp.full(3, 1.0)` is weakly typed and the same array after a step is not, so that the step would be
    compiled twice.
    """
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), tree)


def with_learned(model: Tree, learned: Mapping[str, Array]) -> Tree:
    """Returns `model` with the arrays of `learned` at their paths.

    Raises:
      InputError: An array has another shape than its parameter, or no path is one of the model's.
    """

    def choose(keys: Any, leaf: Array) -> Array:
        array = learned.get(path_of(keys), leaf)
        if array.shape != leaf.shape:
            raise InputError(
                f"{path_of(keys)} has shape {array.shape} in the run to start from and "
                f"{leaf.shape} here; choose the same network, or leave `start` empty"
            )
        return array

    paths = {path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(model)}
    if learned and not paths & learned.keys():
        raise InputError(
            "the run to start from has no parameter of this model; leave `start` empty"
        )
    return jax.tree_util.tree_map_with_path(choose, model)


def make_step(
    config: Pretraining, optimizer: optax.GradientTransformation, spec: Any, mesh: Mesh
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """Returns the compiled training step: (state, batch as read) -> (new state, metrics).

    The old state is donated. The random key of step t is made of the seed and t alone, so a resumed run
    draws the same numbers as one that was never stopped.

    Args:
      config: Configuration of the run, a `Pretraining`.
      optimizer: Optimizer of the run.
      spec: Description of the batch, a `TextSpec` or an `ImageSpec`.
      mesh: Devices that state and batch are sharded over.

    Returns:
      A function of a `TrainState` and a batch as `place_batch` makes it.
    """
    objective, decay = config.objective.for_run(config.steps), config.average
    shardings = shardings_of(abstract_state(config, optimizer, spec, mesh))
    as_read = batch_maker(objective, spec)

    def step(state: TrainState, arrays: Arrays) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(config.seed + 1), state.step)
        corrupt_key, loss_key = jax.random.split(key)
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            examples = objective.corrupt(as_read(arrays), corrupt_key)
            gradients, carried, metrics = gradients_of(
                objective, state.model, state.carried, examples, loss_key, config.microbatches
            )
        moments = to_device(state.optimizer, shardings.optimizer)
        updates, moments = optimizer.update(gradients, moments, state.model)
        moments = to_host(moments, shardings.optimizer)
        model = optax.apply_updates(state.model, updates)
        carried = objective.follow(carried, model, state.step)
        average = state.average
        if decay is not None:
            kept = jnp.minimum(decay, (1 + state.step) / (10 + state.step))
            average = moving_average(average, model, kept)
        metrics["gradient_norm"] = Ratio(optax.tree.norm(gradients), jnp.ones(()))
        return TrainState(state.step + 1, model, moments, average, carried), metrics

    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=(shardings, None),
        compiler_options=options_for(config, mesh) or None,
    )


def make_evaluation(
    objective: Any, spec: Any, mesh: Mesh, *, seed: int
) -> Callable[[Tree, Tree, Any, int], Metrics]:
    """Returns the compiled evaluation: (parameters, carried state, batch, its number) -> metrics.

    There is no dropout, and a batch of the same number is corrupted in the same way at every call. Where the
    objective `corrupts_rows_apart`, the corruption of a row does not depend on the size of a batch either.

    Args:
      objective: The run's objective.
      spec: Description of the batch, a `TextSpec` or an `ImageSpec`.
      mesh: Devices that the batch is sharded over.
      seed: Seed of the run.
    """
    as_read = batch_maker(objective, spec)

    def evaluate(model: Tree, carried: Tree, arrays: Arrays, number: Array) -> Metrics:
        key, rows = jax.random.key(seed + 2), jax.tree.leaves(arrays)[0].shape[0]
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            batch: Any = as_read(arrays)
            if objective.corrupts_rows_apart:
                keys = jax.vmap(partial(jax.random.fold_in, key))(number * rows + jnp.arange(rows))
                examples = corrupt_apart(objective, batch, keys)
            else:
                examples = objective.corrupt(batch, jax.random.fold_in(key, number))
            return objective.loss(model, carried, examples, None)[1][1]

    shardings = (None, None, batch_sharding(mesh), None)
    return jax.jit(evaluate, in_shardings=shardings)


def batch_maker(objective: Any, spec: Any) -> Callable[[Arrays], Text | Images | None]:
    """Returns the function that makes the batch of `objective.corrupt` from the arrays that were read.

    Args:
      objective: The run's objective, which says whether token frequencies are needed.
      spec: Description of the batch, a `TextSpec` or an `ImageSpec`.
    """
    is_images = isinstance(spec, ImageSpec)
    texts = spec.captions if is_images else spec
    counted = objective.counts_tokens
    vocabulary = None if texts is None else Vocabulary.of(texts, counted=counted)

    def as_text(arrays: Arrays) -> Text | None:
        return None if vocabulary is None else Text(arrays["tokens"], vocabulary)

    def as_images(arrays: Arrays) -> Images:
        return Images(arrays["images"], as_text(arrays), arrays.get(REAL))

    return as_images if is_images else as_text


def place_batch(batch: Mapping[str, Any], sharding: NamedSharding) -> dict[str, Array]:
    """Makes global arrays of the rows that this host has read.

    Args:
      batch: Arrays by name; labels are left out, since no label may reach the training.
      sharding: Sharding of the rows over all devices, `batch_sharding(mesh)`.

    Returns:
      Global arrays by name, of which each host holds the rows of its devices.
    """
    return {name: place(batch[name], sharding) for name in batch if name != LABELS}


def place(rows: Any, sharding: NamedSharding) -> Array:
    """Makes one global array of `rows`, the rows that this host has read, in order, in `sharding`."""
    devices = sharding.mesh.size
    local: Any = sharding.addressable_devices_indices_map((devices,))
    parts = sorted({part.indices(devices)[:2] for (part,) in local.values()})
    batch = len(rows) * devices // sum(stop - start for start, stop in parts)
    firsts = [start * batch // devices for start, _ in parts]

    def of_device(index: Any) -> Any:
        start, stop, _ = index[0].indices(batch)
        offset = firsts.index(start) * (stop - start)
        return rows[offset : offset + stop - start]

    return jax.make_array_from_callback((batch, *rows.shape[1:]), sharding, of_device)
