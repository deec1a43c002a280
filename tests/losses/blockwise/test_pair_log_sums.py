from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.losses.blockwise.pair_log_sums import sum_of_log_sums
from tests.losses.blockwise.pairs import example


def dense(a, b, weights, scale, *, by_columns=False):
    """From the whole matrix; b None pairs a with itself, without the diagonal."""
    logits = scale * (a @ (a if b is None else b).T)
    is_pair = jnp.outer(weights > 0, weights > 0)
    if b is None:
        is_pair &= ~jnp.eye(len(a), dtype=bool)
    total = 0.0
    for axis in (1, 0)[: 1 + by_columns]:
        log_sums = jax.nn.logsumexp(jnp.where(is_pair, logits, -1e30), axis=axis)
        total += jnp.where(weights > 0, weights * log_sums, 0).sum()
    return total


@pytest.mark.parametrize("block", [1, 3, 100])
@pytest.mark.parametrize("kind", ["rows", "both", "same"])
def test_value_and_gradient_are_those_of_the_whole_matrix(kind, block):
    a, b, weights = example()
    b = None if kind == "same" else b
    options, scale = {"by_columns": kind == "both"}, jnp.float32(3.0)
    sides = (0, 3) if b is None else (0, 1, 3)
    ours = jax.value_and_grad(partial(sum_of_log_sums, block=block, **options), sides)
    expected = jax.value_and_grad(partial(dense, **options), sides)(a, b, weights, scale)
    found = jax.jit(ours)(a, b, weights, scale)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found, expected)


@pytest.mark.slow
def test_parts_of_devices_add_up_to_the_whole():
    a, b, weights = example(6)
    part = partial(sum_of_log_sums, by_columns=True, block=2, axis_name="i")
    mapped = jax.vmap(part, in_axes=(0, 0, 0, None), axis_name="i")
    parts = mapped(*(x.reshape(3, 2, *x.shape[1:]) for x in (a, b, weights)), jnp.float32(3.0))
    expected = dense(a, b, weights, 3.0, by_columns=True)
    np.testing.assert_allclose(parts.sum(), expected, rtol=1e-5)
