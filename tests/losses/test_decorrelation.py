from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses
from tests.losses import loops
from tests.losses.rows import SHAPES, check_gradient, check_weights, example


@pytest.mark.parametrize("shape", SHAPES)
def test_are_the_loops(shape):
    first, second, weights = example(*shape)
    barlow_twins = jax.jit(partial(losses.barlow_twins, off_diagonal_weight=0.1))
    expected = loops.barlow_twins(first, second, weights, 0.1)
    np.testing.assert_allclose(barlow_twins(first, second, weights), expected, rtol=1e-5, atol=1e-6)
    if shape[0] > 1:
        value = jax.jit(losses.vicreg)(first, second)
        np.testing.assert_allclose(value, loops.vicreg(first, second), rtol=1e-5)


def test_vicreg_by_hand():
    # Variances 2 (n - 1) and 1/2: std 1.414 and 0.707; covariance 1; distances 1 in one feature.
    rows = jnp.array([[1.0, 0.5], [-1.0, -0.5]])
    moved = rows + jnp.array([[1.0, 0.0]])
    options = {"invariance_weight": 2.0, "variance_weight": 3.0, "covariance_weight": 5.0}
    loss = losses.vicreg(rows, moved, **options)
    variance = (1 - np.sqrt(0.5 + 1e-4)) / 2  # mean over two features; both views alike
    np.testing.assert_allclose(loss, 2 * 0.5 + 3 * variance + 5 * 2 * (2 * 1 / 2), rtol=1e-6)


def test_barlow_twins_by_hand():
    # Correlations of two equal views whose features are independent: the identity.
    rows = jnp.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    np.testing.assert_allclose(losses.barlow_twins(rows, rows), 0, atol=1e-6)
    same = rows[:, :1] * jnp.ones((1, 2))  # both features equal: C is all ones
    loss = losses.barlow_twins(same, same, off_diagonal_weight=0.3)
    np.testing.assert_allclose(loss, 0.3 * 2, rtol=1e-4)


def test_whole_weights_are_repeated_rows_in_barlow_twins():
    first, second, _ = example(5, 3)
    counts = np.array([1, 2, 0, 1, 3])
    loss = losses.barlow_twins(first, second, jnp.asarray(counts, jnp.float32))
    repeated = losses.barlow_twins(first.repeat(counts, 0), second.repeat(counts, 0))
    np.testing.assert_allclose(loss, repeated, rtol=1e-5)


@pytest.mark.parametrize("loss", [losses.barlow_twins, losses.vicreg])
def test_weights_and_gradients(loss):
    check_weights(loss)
    check_gradient(loss)


@pytest.mark.parametrize("loss", [losses.barlow_twins, losses.vicreg])
def test_errors_name_both_shapes(loss):
    rows = jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"first \(3, 2\) and second \(2, 2\)"):
        loss(rows, rows[:2])
    with pytest.raises(ValueError, match=r"weights of shape \(2,\) must be \(3,\)"):
        loss(rows, rows, jnp.ones(2))
