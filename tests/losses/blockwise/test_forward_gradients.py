import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from jaxssl.losses.blockwise.forward_gradients import with_formed_gradient


def cubes(x, y, calls=None):
    """sum x^3 y, with the auxiliary output sum x, and a list of what ran."""

    def value(arrays, factor):
        calls is None or calls.append("value")
        x, y = arrays
        return factor * (x**3 * y).sum(), {"sum": x.sum(), "count": jnp.asarray(x.size)}

    def value_and_gradient(arrays, factor):
        calls is None or calls.append("gradient")
        x, y = arrays
        total = (factor * (x**3 * y).sum(), {"sum": x.sum(), "count": jnp.asarray(x.size)})
        return total, (factor * 3 * x**2 * y, factor * x**3)

    return with_formed_gradient(value, value_and_gradient, (x, y), jnp.float32(2.0))


X, Y = jnp.array([1.0, -2.0, 3.0]), jnp.array([0.5, 1.0, -1.0])


def test_only_the_value_runs_where_nothing_is_differentiated():
    calls = []
    total, aux = cubes(X, Y, calls)
    assert total == 2 * (0.5 - 8 - 27)
    assert (aux["sum"], aux["count"]) == (2, 3)
    assert calls == ["value"]


def test_the_gradient_is_formed_once_beside_the_value():
    calls = []
    function = jax.value_and_grad(lambda x, y: cubes(x, y, calls), (0, 1), has_aux=True)
    (total, aux), gradients = function(X, Y)
    assert total == 2 * (0.5 - 8 - 27)
    assert aux["sum"] == 2
    np.testing.assert_allclose(gradients[0], 6 * X**2 * Y)
    np.testing.assert_allclose(gradients[1], 2 * X**3)
    assert calls.count("gradient") == 1


def test_by_differences_in_both_modes_under_vmap_and_checkpoint():
    total = jax.checkpoint(lambda x, y: cubes(x, y)[0])
    check_grads(total, (X, Y), order=1, modes=["fwd", "rev"], rtol=0.01)
    mapped = jax.vmap(jax.grad(total), in_axes=(0, None))(jnp.stack([X, 2 * X]), Y)
    np.testing.assert_allclose(mapped, jnp.stack([6 * X**2 * Y, 24 * X**2 * Y]))


def test_the_auxiliary_output_has_no_gradient():
    gradient = jax.grad(lambda x: cubes(x, Y)[1]["sum"])(X)
    np.testing.assert_array_equal(gradient, jnp.zeros(3))


def test_parts_of_a_gradient_are_summed_over_their_axis():
    """Each device has half of the vector x: d (x . x) / d s of x = s v is the sum over both."""

    def value(arrays, _):
        return jax.lax.psum(jnp.vdot(arrays[0], arrays[0]), "i"), ()

    def value_and_gradient(arrays, _):
        return value(arrays, _), (2 * arrays[0],)

    def loss(s, v):
        return with_formed_gradient(value, value_and_gradient, (s * v,), (), sum_axis="i")[0]

    halves = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    forward = lambda v: jax.jvp(lambda s: loss(s, v), (2.0,), (1.0,))  # noqa: E731
    totals, slopes = jax.vmap(forward, axis_name="i")(halves)
    np.testing.assert_allclose(totals, [4 * 30.0] * 2)
    np.testing.assert_allclose(slopes, [4 * 30.0] * 2)
