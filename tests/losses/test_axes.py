import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.losses.axes import sum_over, zero_of
from tests.losses.topologies import AXIS, on_mesh


def test_sum_over_adds_every_array_of_a_tree():
    values = {"a": jnp.arange(3.0), "b": jnp.ones(3)}
    summed = jax.vmap(lambda v: sum_over("i", v), axis_name="i")(values)
    np.testing.assert_array_equal(summed["a"], [3.0] * 3)
    np.testing.assert_array_equal(summed["b"], [3.0] * 3)
    assert sum_over(None, values) is values


def test_the_gradient_outside_and_the_mean_gradient_inside_are_the_same():
    """The convention of the docstring, for a sum of squares over the devices."""
    rows = jnp.arange(4.0)
    loss = lambda w, x: sum_over("i", jnp.square(w * x))  # noqa: E731
    mapped = jax.vmap(loss, in_axes=(None, 0), axis_name="i")
    outside = jax.grad(lambda w: mapped(w, rows).mean())(3.0)
    inside = jax.vmap(
        lambda w, x: jax.lax.pmean(jax.grad(loss)(w, x), "i"), in_axes=(None, 0), axis_name="i"
    )(3.0, rows)
    np.testing.assert_allclose(outside, 2 * 3 * 14)
    np.testing.assert_allclose(inside, [2 * 3 * 14] * 4)


def test_zero_of_starts_a_loop_over_what_varies():
    """With a plain 0, `lax.scan` refuses: the carry varies over the devices after a step only."""

    def total(_, rows):
        add = lambda sum, row: (sum + row, None)  # noqa: E731
        return jax.lax.psum(jax.lax.scan(add, zero_of(rows), rows)[0], AXIS)

    assert on_mesh(True, total, 2)(jnp.zeros(()), jnp.arange(6.0)) == 15
    assert zero_of(jnp.full(3, jnp.nan)) == 0


def test_parameters_made_to_vary_want_the_sum_of_the_gradients():
    """As the docstring says: for replicated ones it is the mean, in the same program."""

    def both(w, rows):
        loss = lambda w: sum_over(AXIS, jnp.square(w * rows).sum())  # noqa: E731
        varying = jax.lax.pcast(w, AXIS, to="varying")
        replicated = jax.lax.pmean(jax.grad(loss)(w), AXIS)
        return replicated, jax.lax.psum(jax.grad(loss)(varying), AXIS)

    found = on_mesh(True, both, 2)(jnp.asarray(3.0), jnp.arange(4.0))
    np.testing.assert_allclose(found, [2 * 3 * 14] * 2)
