import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.augment import fold
from jaxssl.augment.random_numbers import BLUR, CROP, between, select, uniform
from tests.augment.images import example_keys


def test_the_key_of_an_image_depends_on_its_number_alone(key):
    few, many = example_keys(key, 3), example_keys(key, 8)
    assert (few == many[:3]).all()
    assert few[1] == jax.random.fold_in(key, 1)


def test_folded_keys_differ_from_each_other_and_from_these(key):
    keys = example_keys(key, 2)
    words = [jax.random.key_data(k) for k in (keys, fold(keys, 0), fold(keys, 1))]
    assert len({tuple(row.tolist()) for array in words for row in array}) == 6


def test_numbers_of_one_transform_are_not_those_of_another(key):
    keys = example_keys(key, 1000)
    first, second = uniform(keys, CROP, 2), uniform(keys, BLUR, 2)
    assert first.shape == (1000, 2)
    assert (first >= 0).all()
    assert (first < 1).all()
    np.testing.assert_allclose(first.mean(axis=0), 0.5, atol=0.04)
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.1
    np.testing.assert_array_equal(uniform(keys[7:9], CROP, 2), first[7:9])


def test_selecting_and_scaling_by_hand():
    values = jnp.array([[10.0, 20.0, 30.0], [1.0, 2.0, 3.0]])
    found = select(values, jnp.array([[2, 0], [1, 1]]))
    np.testing.assert_array_equal(found, [[30.0, 10.0], [2.0, 2.0]])
    np.testing.assert_allclose(between(jnp.array([0.0, 0.25, 1.0]), -1.0, 3.0), [-1, 0, 3])
