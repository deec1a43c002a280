import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.losses.weighting import keep_used, sum_weighted, weighted_mean


def test_mean_over_devices_is_the_sum_of_sums_over_the_sum_of_weights():
    totals, weights = jnp.array([1.0, 5.0]), jnp.array([1.0, 2.0])
    mean = jax.vmap(lambda t, w: weighted_mean(t, w, axis_name="i"), axis_name="i")
    np.testing.assert_allclose(mean(totals, weights), [2.0, 2.0])  # not (1 + 2.5) / 2
    total = weighted_mean(jnp.float32(5.0), jnp.float32(2.0), normalize=False)
    assert total == 5


def test_no_weight_has_the_mean_and_the_gradient_zero():
    value, gradient = jax.value_and_grad(weighted_mean, (0, 1))(jnp.zeros(()), jnp.zeros(()))
    assert value == 0
    assert gradient == (0, 0)


def test_values_of_weight_zero_do_not_count():
    values, weights = jnp.array([1.0, jnp.nan, jnp.inf, 4.0]), jnp.array([2.0, 0.0, 0.0, 0.5])
    assert sum_weighted(values, weights) == 4
    assert sum_weighted(values, weights > 0) == 5
    np.testing.assert_array_equal(jax.grad(sum_weighted)(values, weights), [2.0, 0, 0, 0.5])


def test_keep_used_zeroes_rows_of_any_rank():
    array = jnp.full((2, 3, 4), jnp.nan).at[0, 1].set(7.0)
    weights = jnp.zeros((2, 3)).at[0, 1].set(0.1)
    kept = keep_used(array, weights)
    assert (kept[0, 1] == 7).all()
    assert kept.sum() == 4 * 7
    clean = jax.grad(lambda a: jnp.sqrt(keep_used(a, weights) + 1).sum())(array)
    assert jnp.isfinite(clean).all()
