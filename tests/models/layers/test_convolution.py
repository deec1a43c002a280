"""Convolution and the norms between convolutions against slow references."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.layers.convolution import BatchNorm, Convolution, GroupNorm, groups_of
from tests.models.vision_reference import images, moved, slow_convolution, slow_norm, weights


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (3, 2), (7, 2), (1, 2)])
def test_convolution(size, stride, key):
    one = Convolution(key, 3, 4, size, stride=stride)
    x = images(2)
    np.testing.assert_allclose(one(x), slow_convolution(x, weights(one), stride), atol=1e-5)


def test_groups():
    assert [groups_of(c) for c in (3, 4, 6, 8, 16, 64, 128, 512)] == [1, 1, 1, 2, 4, 16, 32, 32]


def test_norms_by_hand():
    x = jnp.array([[1.0, 2.0], [3.0, 6.0]])
    normed, moments = BatchNorm(2, epsilon=0.0)(x)
    np.testing.assert_allclose(normed, [[-1, -1], [1, 1]], atol=1e-6)
    np.testing.assert_allclose(moments["mean"], [2, 4])
    np.testing.assert_allclose(moments["variance"], [1, 4])
    y = images(2, 2, 2, 8)
    norm = moved(GroupNorm(8))
    np.testing.assert_allclose(norm(y)[0], slow_norm(y, norm), atol=1e-5)
