from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxssl import losses
from tests.losses.topologies import AXIS, mesh_of, relative_error


def embed(params, rows, key):
    """With dropout, so that a key which is not replayed is noticed."""
    keep = jax.random.bernoulli(key, 0.7, rows.shape)
    return {name: jnp.tanh(rows * keep @ matrix) for name, matrix in params["towers"].items()}


def contrast(params, embeddings, axis_name=None):
    options = {"temperature": params["temperature"], "axis_name": axis_name}
    return losses.info_nce(embeddings["first"], embeddings["second"], **options)


@pytest.fixture
def example():
    random = np.random.default_rng(0)
    towers = {n: jnp.asarray(random.normal(size=(5, 3)), jnp.float32) for n in ("first", "second")}
    params = {"towers": towers, "temperature": jnp.float32(0.5)}
    return params, jnp.asarray(random.normal(size=(12, 5)), jnp.float32)


@pytest.mark.parametrize("microbatches", [1, 3, 12])
def test_is_one_large_batch(example, microbatches, key):
    params, rows = example

    def whole(params):
        parts = rows.reshape(microbatches, -1, 5)
        each = [
            embed(params, part, jax.random.fold_in(key, number))
            for number, part in enumerate(parts)
        ]
        return contrast(params, jax.tree.map(lambda *a: jnp.concatenate(a), *each))

    cached = jax.jit(partial(losses.cached_gradients, embed, contrast, microbatches=microbatches))
    ours = cached(params, rows, key)
    assert relative_error(ours, jax.jit(jax.value_and_grad(whole))(params)) < 1e-5
    # With keys of their own the parts are others: dropout is noticed above.
    assert relative_error(cached(params, rows, jax.random.key(1)), ours) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("check_vma", [True, False])
def test_dropout_is_replayed_on_devices(example, check_vma, key):
    """8 devices of 2 microbatches, each device with a key of its own, against one batch."""
    params, _ = example
    rows = jnp.asarray(np.random.default_rng(1).normal(size=(32, 5)), jnp.float32)

    def whole(params):
        each = []
        for number, part in enumerate(rows.reshape(16, 2, 5)):
            device_key = jax.random.fold_in(key, number // 2)
            each.append(embed(params, part, jax.random.fold_in(device_key, number % 2)))
        return contrast(params, jax.tree.map(lambda *a: jnp.concatenate(a), *each))

    def inside(params, rows):
        device_key = jax.random.fold_in(key, jax.lax.axis_index(AXIS))
        value, gradient = losses.cached_gradients(
            embed, partial(contrast, axis_name=AXIS), params, rows, device_key, microbatches=2
        )
        return value, jax.lax.pmean(gradient, AXIS)

    whole_spec, cut = PartitionSpec(), PartitionSpec(AXIS)
    mapped = jax.shard_map(
        inside,
        mesh=mesh_of(8),
        in_specs=(whole_spec, cut),
        out_specs=whole_spec,
        check_vma=check_vma,
    )
    expected = jax.jit(jax.value_and_grad(whole))(params)
    assert relative_error(jax.jit(mapped)(params, rows), expected) < 1e-5


def test_uneven_cuts_are_refused(example, key):
    params, rows = example
    with pytest.raises(ValueError, match=r"12 rows.*\(12, 5\).*5 equal"):
        losses.cached_gradients(embed, contrast, params, rows, key, microbatches=5)


def test_half_precision_gradients_are_summed_in_float32():
    """512 parts of 1: a sum in bfloat16 stays at 256."""
    params, rows = jnp.ones((), jnp.bfloat16), jnp.ones((512, 1), jnp.bfloat16)
    embed = lambda p, rows, key: p * rows  # noqa: E731
    contrast = lambda p, z: z.astype(jnp.float32).sum()  # noqa: E731
    _, gradient = losses.cached_gradients(embed, contrast, params, rows, microbatches=512)
    assert gradient.dtype == jnp.bfloat16
    assert gradient == 512
