"""Value and gradient of every loss on every topology, against the same loss on one device.

All losses run in one program, each with parameters of its own, so that gradients do not mix. On 2
processes the same table runs in `test_processes.py`.
"""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses
from jaxssl.losses import (
    contrastive,
    contrastive_tiles,
    decorrelation,
    language,
    reconstruction,
    replaced_tokens,
    self_distillation,
    vocabulary_head,
    word_vectors,
)
from tests.losses import cases
from tests.losses.topologies import (
    AXIS,
    TOPOLOGIES,
    fast_to_compile,
    mesh_of,
    programs,
    relative_error,
    split,
    value_and_mean_gradient,
)

TOLERANCE = 1e-5  # relative, norm by norm


def one_after_another(table: Any, params: Any, batch: Any, **options: Any) -> jax.Array:
    """The sum of all losses. Each waits for the one before, in both directions.

    XLA runs what is independent at once, and on few cores the collectives of several losses can then
    take all threads while each waits for other devices' threads.
    """
    total = jnp.zeros(())
    for name, loss in table.items():
        waiting = batch | {"first": batch["first"] + 0 * total}
        total += loss(params[name], waiting, **options)
    return total


def all_losses(params: Any, batch: Any, axis_name: str | None = None) -> jax.Array:
    return one_after_another(cases.ALL, params, batch, axis_name=axis_name)


def token_losses(params: Any, batch: Any) -> jax.Array:
    return sum(loss(params[name], batch) for name, loss in cases.TOKEN_LOSSES.items())


def accumulated(params: Any, batch: Any, axis_name: str | None = None) -> jax.Array:
    """Four microbatches, added: weights are divided by their global sum first."""

    def share(weights: jax.Array) -> jax.Array:
        total = weights.sum()
        return weights / (jax.lax.psum(total, axis_name) if axis_name else total)

    names = ("weights", "other_weights")
    batch = batch | {name: share(batch[name]) for name in names}

    def add(total: jax.Array, part: Any) -> tuple[jax.Array, None]:
        options = {"axis_name": axis_name, "normalize": False}
        return total + one_after_another(cases.TOKEN_LOSSES, params, part, **options), None

    parts = 4 if len(batch["weights"]) % 4 == 0 else 1
    cut = jax.tree.map(lambda a: a.reshape(parts, -1, *a.shape[1:]), batch)
    return jax.lax.scan(add, jnp.zeros(()), cut)[0]


def parameters(names: Any) -> Any:
    return {name: cases.make_params() for name in names}


@lru_cache
def on_one_device(function: Any, uneven: bool) -> Any:
    names = {token_losses: cases.TOKEN_LOSSES, batch_losses: cases.BATCH_LOSSES}
    params = parameters(names.get(function, cases.ALL))
    program = fast_to_compile(jax.value_and_grad(function))
    return params, jax.tree.map(np.asarray, program(params, cases.make_batch(uneven)))


COUNTS = [
    4,
    pytest.param(1, marks=pytest.mark.slow),
    pytest.param(2, marks=pytest.mark.slow),
    pytest.param(8, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("uneven", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_value_and_gradient(topology: str, count: int, uneven: bool) -> None:
    params, reference = on_one_device(all_losses, uneven)
    for result in programs(topology, all_losses, count)(params, cases.make_batch(uneven)):
        assert relative_error(result, reference) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("uneven", [True, False])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_accumulated_microbatches(topology: str, count: int, uneven: bool) -> None:
    params, reference = on_one_device(token_losses, uneven)
    for result in programs(topology, accumulated, count)(params, cases.make_batch(uneven)):
        assert relative_error(result, reference) < TOLERANCE


def cached(params: Any, batch: Any, axis_name: str | None = None) -> Any:
    """Contrastive losses accumulated: the value and gradient of two microbatches a device."""

    def embed(params: Any, part: Any, _: Any) -> Any:
        return {
            name: (part["first"] @ p["matrix"], part["second"] @ p["matrix"], part["weights"])
            for name, p in params.items()
        }

    def contrast(params: Any, rows: Any) -> jax.Array:
        return sum(
            loss.of_embeddings(params[name], rows[name], axis_name)
            for name, loss in cases.BATCH_LOSSES.items()
        )

    value, gradient = losses.cached_gradients(embed, contrast, params, batch, microbatches=2)
    return value, jax.lax.pmean(gradient, axis_name) if axis_name else gradient


def batch_losses(params: Any, batch: Any) -> jax.Array:
    return sum(loss(params[name], batch) for name, loss in cases.BATCH_LOSSES.items())


@pytest.mark.parametrize("check_vma", [True, False])
def test_cached_gradients_on_devices(check_vma: bool) -> None:
    """Inside shard_map, on 8 devices."""
    cut, whole = jax.sharding.PartitionSpec(AXIS), jax.sharding.PartitionSpec()
    mapped = jax.shard_map(
        partial(cached, axis_name=AXIS),
        mesh=mesh_of(8),
        in_specs=(whole, cut),
        out_specs=whole,
        check_vma=check_vma,
    )
    params, reference = on_one_device(batch_losses, uneven=True)
    result = fast_to_compile(mapped)(params, cases.make_batch(uneven=True))
    assert relative_error(result, reference) < TOLERANCE


def test_every_loss_is_in_the_table() -> None:
    others = ("_per_example", "_center", "_gradients", "_accuracy", "sample_tokens")
    assert set(cases.TOKEN_LOSSES) | {name.split(" in ")[0] for name in cases.BATCH_LOSSES} == {
        name for name in losses.__all__ if not name.endswith(others)
    }


def mean_of_means(total: Any, weight: Any, *, axis_name: Any = None, normalize: bool = True) -> Any:
    mean = total / jnp.maximum(weight, 1e-9)
    return jax.lax.pmean(mean, axis_name) if axis_name else mean


def at_home(visit: Any, stays: Any, travels: Any, axis_name: Any) -> Any:
    """In place of the ring: the negatives of one device."""
    return visit(jnp.zeros((), jnp.int32), stays, travels)


def swap_in(mutation: str, patch: pytest.MonkeyPatch) -> list[str]:
    """The names of the losses that are wrong now."""
    if mutation == "local softmax":
        patch.setattr(contrastive, "_all_devices", lambda array, axis_name: array)
        patch.setattr(contrastive, "_own_index", lambda count, axis_name: np.arange(count))
        patch.setattr(contrastive_tiles, "around_ring", at_home)
        return [name for name in cases.BATCH_LOSSES if name.startswith(cases.CONTRASTIVE)]
    modules = (contrastive, language, reconstruction, replaced_tokens, self_distillation)
    for module in (*modules, vocabulary_head, word_vectors):
        patch.setattr(module, "weighted_mean", mean_of_means)
    patch.setattr(decorrelation, "sum_over", lambda axis_name, values: values)  # of one device
    return list(cases.ALL)


@pytest.mark.parametrize("mutation", ["mean of means", "local softmax"])
def test_wrong_losses_are_noticed(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    params, batch = cases.make_params(), cases.make_batch(uneven=True)

    def each(of: Any, axis_name: str | None = None) -> Any:
        names = swapped or cases.ALL
        return lambda p, b: {n: of(partial(cases.ALL[n], axis_name=axis_name))(p, b) for n in names}

    swapped: list[str] = []
    references = fast_to_compile(each(jax.value_and_grad))(params, batch)
    swapped = swap_in(mutation, monkeypatch)
    inside = each(value_and_mean_gradient, AXIS)
    mapped = jax.vmap(inside, axis_name=AXIS, in_axes=(None, 0))
    results = fast_to_compile(mapped)(params, split(batch, 4))
    for name in swapped:
        for device in range(4):
            result = jax.tree.map(lambda a, i=device: a[i], results[name])
            assert relative_error(result, references[name]) > 100 * TOLERANCE, name
