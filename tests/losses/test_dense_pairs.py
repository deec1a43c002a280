import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.losses import dense_pairs

EYE = jnp.eye(3)


def test_rows_by_hand():
    """Orthogonal unit vectors: the cosine is 1 with the partner and 0 with everything else."""
    ones = jnp.ones(3)
    np.testing.assert_allclose(
        dense_pairs.nt_xent_rows(EYE, EYE, ones, 1.0, None), [np.log(np.e + 4) - 1] * 3, rtol=1e-6
    )
    for symmetric in (True, False):
        found = dense_pairs.info_nce_rows(EYE, EYE, ones, 0.5, symmetric, None)
        np.testing.assert_allclose(found, [np.log(np.exp(2) + 2) - 2] * 3, rtol=1e-6)
    found = dense_pairs.sigmoid_rows(EYE, EYE, ones, 1.0, 0.0, None)
    np.testing.assert_allclose(found, [np.log(1 + np.exp(-1)) + 2 * np.log(2)] * 3, rtol=1e-6)


def test_a_pair_without_weight_is_no_negative():
    weights = jnp.array([1.0, 1.0, 0.0])
    found = dense_pairs.nt_xent_rows(EYE, EYE, weights, 1.0, None)[:2]
    np.testing.assert_allclose(found, [np.log(np.e + 2) - 1] * 2, rtol=1e-6)


def test_rows_are_numbered_over_the_devices():
    numbers = jax.vmap(lambda _: dense_pairs.own_index(2, "i"), axis_name="i")(jnp.zeros(3))
    np.testing.assert_array_equal(numbers, [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(dense_pairs.own_index(2, None), [0, 1])


def test_each_device_compares_with_all_rows():
    parts, ones = EYE[:, None], jnp.ones((3, 1))
    row = lambda a, w: dense_pairs.nt_xent_rows(a, a, w, 1.0, "i")  # noqa: E731
    found = jax.vmap(row, axis_name="i")(parts, ones)
    np.testing.assert_allclose(found[:, 0], [np.log(np.e + 4) - 1] * 3, rtol=1e-6)


def test_the_inverse_temperature_is_wide():
    assert dense_pairs.inverse_temperature(0.25, EYE.astype(jnp.bfloat16)) == 4
    assert dense_pairs.inverse_temperature(0.25, EYE.astype(jnp.bfloat16)).dtype == jnp.float32
