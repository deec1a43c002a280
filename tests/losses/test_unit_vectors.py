import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.losses.unit_vectors import to_unit


def test_by_hand():
    np.testing.assert_allclose(to_unit(jnp.array([[3.0, 4.0]])), [[0.6, 0.8]], rtol=1e-6)


def test_a_zero_vector_stays_zero_and_has_no_gradient():
    value, gradient = jax.value_and_grad(lambda v: to_unit(v).sum())(jnp.zeros((1, 3)))
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("scale", [1e-30, 6e4, 1e30])
def test_squares_neither_overflow_nor_underflow(scale):
    dtype = jnp.float16 if scale == 6e4 else jnp.float32
    unit = to_unit(jnp.array([[scale, -scale]], dtype))
    assert unit.dtype == jnp.float32
    np.testing.assert_allclose(unit, [[0.5**0.5, -(0.5**0.5)]], rtol=1e-3)


def test_the_gradient_is_orthogonal_to_the_vector():
    vector = jnp.array([1.0, -2.0, 0.5])
    jacobian = jax.jacobian(to_unit)(vector)
    expected = (jnp.eye(3) - jnp.outer(vector, vector) / 5.25) / 5.25**0.5
    np.testing.assert_allclose(jacobian, expected, atol=1e-6)
