"""The step: corrupt the global batch, cut it into microbatches, add up gradients, update.

Weights are normalised over the global batch before the cut, so gradients add up exactly: the result
does not depend on the number of microbatches or devices, however unevenly tokens are masked. Contrastive
objectives, whose loss is no sum over rows, are accumulated in two passes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.data.images import LABELS, ImageSpec
from jaxssl.errors import InputError
from jaxssl.objectives.batches.batch import Images, Metric, Ratio, Text, Vocabulary
from jaxssl.objectives.contract import ContrastiveObjective
from jaxssl.optimizers.host_moments import OnHost, check_host_memory, on_host, to_device, to_host
from jaxssl.sharding.layout import path_of
from jaxssl.sharding.mesh import batch_sharding, state_shardings
from jaxssl.training.config import Pretraining

Tree = Any
Metrics = dict[str, Metric]
Arrays = Mapping[str, Array]  # of a batch, by name


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that a run carries from step to step, and all that a checkpoint holds."""

    step: Int[Array, ""]
    model: Tree
    optimizer: Tree
    average: Tree  # exponential moving average of the model; () where none is kept
    carried: Tree  # what the objective carries and does not differentiate

    @property
    def evaluated(self) -> Tree:
        """The parameters that are judged and used: their moving average where the run keeps one."""
        return self.model if isinstance(self.average, tuple) else self.average


def create_state(
    config: Pretraining,
    optimizer: optax.GradientTransformation,
    spec: Any,
    mesh: Mesh,
    learned: Mapping[str, Any] | None = None,
) -> TrainState:
    """A new state, made by one compiled function straight into its sharding: never whole anywhere.

    Parameters whose path is in `learned` take its array; the others are random.
    """
    create = state_maker(config, optimizer, spec)
    shardings = shardings_of(abstract_state(config, optimizer, spec, mesh))
    given = {path: np.asarray(array) for path, array in (learned or {}).items()}
    return jax.jit(create, out_shardings=shardings)(jax.random.key(config.seed), given)


def abstract_state(
    config: Pretraining, optimizer: optax.GradientTransformation, spec: Any, mesh: Mesh
) -> TrainState:
    """Shape, type and sharding of every leaf of the state; nothing is computed."""
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
    """Shape, type and sharding of the arrays of a batch."""
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
    """Where every leaf lies, of a state or of its description."""
    return jax.tree.map(lambda leaf: leaf.sharding, state)


def state_maker(
    config: Pretraining, optimizer: optax.GradientTransformation, spec: Any
) -> Callable[[Array, Mapping[str, Array]], TrainState]:
    """The function (key, arrays by path that are not random) -> new state."""
    objective = config.objective

    def create(key: Array, learned: Mapping[str, Array]) -> TrainState:
        model = with_learned(objective.init(key, spec), learned)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            model=model,
            optimizer=optimizer.init(model),
            average=() if config.average is None else jax.tree.map(jnp.copy, model),
            carried=objective.init_state(model),
        )

    return create


def with_learned(model: Tree, learned: Mapping[str, Array]) -> Tree:
    """The model with the arrays of `learned` at their paths.

    Raises InputError where they have another shape, or not one of them is the model's.
    """

    def choose(keys: Any, leaf: Array) -> Array:
        array = learned.get(path_of(keys), leaf)
        if array.shape != leaf.shape:
            raise InputError(
                f"{path_of(keys)} has shape {array.shape} in the run to start from and "
                f"{leaf.shape} here; choose the same network, or no --start"
            )
        return array

    paths = {path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(model)}
    if learned and not paths & learned.keys():
        raise InputError("the run to start from has no parameter of this model; leave out --start")
    return jax.tree_util.tree_map_with_path(choose, model)


def make_step(
    config: Pretraining, optimizer: optax.GradientTransformation, spec: Any, mesh: Mesh
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """The compiled step: (state, batch as read) -> (state, metrics). The old state is given up.

    The key of step t is folded from (seed, t), so a resumed run draws what the first would have.
    """
    objective, decay = config.objective, config.average
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
            average = optax.incremental_update(model, average, 1.0 - decay)
        metrics["gradient_norm"] = Ratio(optax.tree.norm(gradients), jnp.ones(()))
        return TrainState(state.step + 1, model, moments, average, carried), metrics

    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=(shardings, None),
    )


def make_evaluation(
    objective: Any, spec: Any, mesh: Mesh, *, seed: int
) -> Callable[[Tree, Tree, Any, int], Metrics]:
    """The compiled evaluation of one batch: no dropout, the same corruption at every call."""
    as_read = batch_maker(objective, spec)

    def evaluate(model: Tree, carried: Tree, arrays: Arrays, number: Array) -> Metrics:
        key = jax.random.fold_in(jax.random.key(seed + 2), number)
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            examples = objective.corrupt(as_read(arrays), key)
            return objective.loss(model, carried, examples, None)[1][1]

    shardings = (None, None, batch_sharding(mesh), None)
    return jax.jit(evaluate, in_shardings=shardings)


def batch_maker(objective: Any, spec: Any) -> Callable[[Arrays], Text | Images | None]:
    """The function (arrays as read, by name) -> what `corrupt` is given."""
    is_images = isinstance(spec, ImageSpec)
    texts = spec.captions if is_images else spec
    counted = objective.counts_tokens
    vocabulary = None if texts is None else Vocabulary.of(texts, counted=counted)

    def as_text(arrays: Arrays) -> Text | None:
        return None if vocabulary is None else Text(arrays["tokens"], vocabulary)

    def as_images(arrays: Arrays) -> Images:
        return Images(arrays["images"], as_text(arrays))

    return as_images if is_images else as_text


def gradients_of(
    objective: Any, model: Tree, carried: Tree, examples: Tree, key: Array, microbatches: int
) -> tuple[Tree, Tree, Metrics]:
    """Gradients of the objective's loss over all examples, the state it carries, and its metrics."""
    if microbatches == 1 or not isinstance(objective, ContrastiveObjective):
        return accumulate(objective.loss, model, carried, examples, key, microbatches)
    (_, (carried, metrics)), gradients = losses.cached_gradients(
        lambda model, part, key: objective.embed(model, carried, part, key),
        lambda model, embeddings: objective.contrast(model, carried, embeddings, examples),
        model,
        examples,
        key,
        microbatches=microbatches,
        has_aux=True,
        interleave=True,
    )
    return gradients, carried, metrics


def accumulate(
    loss: Callable[..., Any],
    model: Tree,
    carried: Tree,
    examples: Tree,
    key: Array,
    microbatches: int,
) -> tuple[Tree, Tree, Metrics]:
    """Gradients of `loss` over all examples as a plain sum over microbatches, in float32."""
    gradient = jax.value_and_grad(loss, has_aux=True)
    if microbatches == 1:
        (_, (carried, metrics)), gradients = gradient(model, carried, examples, key)
        return gradients, carried, metrics

    def cut(array: Float[Array, "batch ..."]) -> Float[Array, "micro rows ..."]:
        # Every microbatch takes rows of every device, so that nothing moves between devices.
        rows = array.reshape(-1, microbatches, *array.shape[1:])
        return jnp.moveaxis(rows, 1, 0)

    def add(sums: Any, numbered: Any) -> tuple[Any, None]:
        gradients, carried, metrics = sums
        number, part = numbered
        (_, (carried, more)), grown = gradient(
            model, carried, part, jax.random.fold_in(key, number)
        )
        gradients = jax.tree.map(lambda a, b: a + b.astype(a.dtype), gradients, grown)
        return (gradients, carried, jax.tree.map(jnp.add, metrics, more)), None

    parts = jax.tree.map(cut, examples)
    first = jax.tree.map(lambda part: part[0], parts)
    shapes = jax.eval_shape(loss, model, carried, first, key)[1][1]
    zero_metrics = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), model)
    numbers = jnp.arange(microbatches)
    sums, _ = jax.lax.scan(add, (zeros, carried, zero_metrics), (numbers, parts))
    return sums


def place_batch(batch: Mapping[str, Any], sharding: NamedSharding) -> dict[str, Array]:
    """The parts of a batch that this host has read (`rows_of_hosts`), as global arrays; no labels."""
    return {name: place(batch[name], sharding) for name in batch if name != LABELS}


def place(rows: Any, sharding: NamedSharding) -> Array:
    """Rows that this host has read, in order, as one global array."""
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
