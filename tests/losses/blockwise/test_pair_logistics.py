from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.losses.blockwise.pair_logistics import sum_of_logistics
from tests.losses.blockwise.pairs import example


def dense(a, b, weights, scale, bias):
    """From the whole matrix."""
    logits = scale * (a @ b.T) + bias
    signs = 2 * jnp.eye(len(a)) - 1
    used = jnp.outer(weights > 0, weights > 0)
    pairs = jnp.where(used, (weights[:, None] + weights[None]) / 2, 0)
    return (pairs * jax.nn.softplus(-signs * logits)).sum()


@pytest.mark.parametrize("block", [1, 3, 100])
def test_value_and_gradient_are_those_of_the_whole_matrix(block):
    arrays = (*example(), jnp.float32(3.0), jnp.float32(-1.0))
    sides = (0, 1, 3, 4)
    found = jax.jit(jax.value_and_grad(partial(sum_of_logistics, block=block), sides))(*arrays)
    expected = jax.value_and_grad(dense, sides)(*arrays)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found, expected)


def test_parts_of_devices_add_up_to_the_whole():
    a, b, weights = example(6)
    part = partial(sum_of_logistics, block=2, axis_name="i")
    mapped = jax.vmap(part, in_axes=(0, 0, 0, None, None), axis_name="i")
    numbers = jnp.float32(3.0), jnp.float32(-1.0)
    parts = mapped(*(x.reshape(3, 2, *x.shape[1:]) for x in (a, b, weights)), *numbers)
    np.testing.assert_allclose(parts.sum(), dense(a, b, weights, *numbers), rtol=1e-5)
