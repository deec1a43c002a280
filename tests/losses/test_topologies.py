"""Value and gradient of every loss on every topology, against the same loss on one device.

All losses run in one program, each with parameters of its own, so that gradients do not mix. On 2
processes the same table runs in `test_processes.py`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses
from jaxssl.losses import contrastive, language
from tests.losses import cases
from tests.losses.topologies import AXIS, TOPOLOGIES, mesh_of, relative_error

TOLERANCE = 1e-5  # relative, norm by norm


def all_losses(params: Any, batch: Any, axis_name: str | None = None) -> jax.Array:
    return sum(loss(params[name], batch, axis_name=axis_name) for name, loss in cases.ALL.items())


def accumulated(params: Any, batch: Any, axis_name: str | None = None) -> jax.Array:
    """Four microbatches, added: weights are divided by their global sum first."""

    def share(weights: jax.Array) -> jax.Array:
        total = weights.sum()
        return weights / (jax.lax.psum(total, axis_name) if axis_name else total)

    names = ("weights", "other_weights")
    batch = batch | {name: share(batch[name]) for name in names}

    def add(total: jax.Array, part: Any) -> tuple[jax.Array, None]:
        options = {"axis_name": axis_name, "normalize": False}
        each = [loss(params[name], part, **options) for name, loss in cases.TOKEN_LOSSES.items()]
        return total + sum(each), None

    parts = 4 if len(batch["weights"]) % 4 == 0 else 1
    cut = jax.tree.map(lambda a: a.reshape(parts, -1, *a.shape[1:]), batch)
    return jax.lax.scan(add, jnp.zeros(()), cut)[0]


def parameters(names: Any) -> Any:
    return {name: cases.make_params() for name in names}


def on_one_device(function: Any, params: Any, uneven: bool) -> Any:
    return jax.jit(jax.value_and_grad(function))(params, cases.make_batch(uneven))


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
    params = parameters(cases.ALL)
    reference = on_one_device(all_losses, params, uneven)
    results = TOPOLOGIES[topology](all_losses, params, cases.make_batch(uneven), count)
    for result in results:
        assert relative_error(result, reference) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("uneven", [True, False])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_accumulated_microbatches(topology: str, count: int, uneven: bool) -> None:
    params = parameters(cases.TOKEN_LOSSES)

    def whole(params: Any, batch: Any) -> jax.Array:
        return sum(loss(params[name], batch) for name, loss in cases.TOKEN_LOSSES.items())

    reference = on_one_device(whole, params, uneven)
    results = TOPOLOGIES[topology](accumulated, params, cases.make_batch(uneven), count)
    for result in results:
        assert relative_error(result, reference) < TOLERANCE


@pytest.mark.parametrize("check_vma", [True, False])
def test_cached_gradients_on_devices(check_vma: bool) -> None:
    """Contrastive losses accumulated inside shard_map: 4 devices, 2 microbatches each."""
    params, batch = parameters(cases.BATCH_LOSSES), cases.make_batch(uneven=True)

    def embed(params: Any, part: Any, _: Any) -> Any:
        return {
            name: (part["first"] @ p["matrix"], part["second"] @ p["matrix"], part["weights"])
            for name, p in params.items()
        }

    def contrast(params: Any, rows: Any) -> jax.Array:
        return sum(
            loss.of_embeddings(params[name], rows[name], AXIS)
            for name, loss in cases.BATCH_LOSSES.items()
        )

    def inside(params: Any, batch: Any) -> Any:
        value, gradient = losses.cached_gradients(embed, contrast, params, batch, microbatches=2)
        return value, jax.lax.pmean(gradient, AXIS)

    cut, whole = jax.sharding.PartitionSpec(AXIS), jax.sharding.PartitionSpec()
    mapped = jax.shard_map(
        inside, mesh=mesh_of(4), in_specs=(whole, cut), out_specs=whole, check_vma=check_vma
    )

    def reference(params: Any, batch: Any) -> jax.Array:
        return sum(loss(params[name], batch) for name, loss in cases.BATCH_LOSSES.items())

    expected = jax.jit(jax.value_and_grad(reference))(params, batch)
    assert relative_error(jax.jit(mapped)(params, batch), expected) < TOLERANCE


def mean_of_means(total: Any, weight: Any, *, axis_name: Any = None, normalize: bool = True) -> Any:
    mean = total / jnp.maximum(weight, 1e-9)
    return jax.lax.pmean(mean, axis_name) if axis_name else mean


@pytest.mark.parametrize("mutation", ["mean of means", "local softmax"])
def test_a_wrong_loss_is_noticed(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = {"mean of means": "masked_lm", "local softmax": "nt_xent"}[mutation]
    loss = cases.ALL[name]
    params, batch = cases.make_params(), cases.make_batch(uneven=True)
    reference = jax.value_and_grad(loss)(params, batch)
    if mutation == "mean of means":
        monkeypatch.setattr(language, "weighted_mean", mean_of_means)
    else:
        monkeypatch.setattr(contrastive, "_all_devices", lambda array, axis_name: array)
        monkeypatch.setattr(contrastive, "_own_index", lambda count, axis_name: np.arange(count))
    for result in TOPOLOGIES["vmap"](loss, params, batch, 4):
        assert relative_error(result, reference) > 100 * TOLERANCE
