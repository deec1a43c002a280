"""Rows for the tests of losses whose rows stand for themselves or for their statistics."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

SHAPES = [(1, 2), (5, 3), (6, 1)]


def example(rows, dim):
    """Two sides, and whole weights of which the second is 0."""
    random = np.random.default_rng(10 * rows + dim)
    first, second = (random.normal(size=(rows, dim)).astype(np.float32) for _ in range(2))
    weights = random.integers(1, 4, rows).astype(np.float32)
    weights[1:2] = 0
    return first, second, weights


def check_weights(loss):
    """Of a loss of (first, second, weights): scale changes nothing, weight 0 hides, no weight gives 0."""
    first, second, weights = example(5, 3)
    program = jax.jit(jax.value_and_grad(loss))
    value, gradient = program(first, second, weights)
    np.testing.assert_allclose(program(first, second, 3 * weights)[0], value, rtol=1e-5)
    used = weights > 0
    dirty = np.where(used[:, None], first, np.nan)
    hidden, clean = program(dirty, second, weights)
    np.testing.assert_allclose(hidden, loss(first[used], second[used], weights[used]), rtol=1e-5)
    np.testing.assert_allclose(clean, gradient, rtol=1e-5, atol=1e-6)
    assert (clean[~used] == 0).all()
    value, gradient = program(np.full_like(first, np.nan), second, np.zeros_like(weights))
    assert value == 0
    assert (gradient == 0).all()


def check_gradient(loss):
    """Of a loss of (first, second): forward and reverse mode against differences of values."""
    first, second, _ = example(5, 3)
    arrays = (jnp.asarray(first), jnp.asarray(second))
    check_grads(jax.jit(loss), arrays, order=1, modes=["fwd", "rev"], rtol=0.03, atol=0.03)
