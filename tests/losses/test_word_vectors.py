import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses
from tests.losses import loops
from tests.losses.rows import SHAPES, check_gradient, check_weights, example


@pytest.mark.parametrize("shape", SHAPES)
def test_is_the_loop(shape):
    centers, contexts, weights = example(*shape)
    negatives = np.stack([contexts[::-1], -centers], axis=1)
    loss = losses.negative_sampling(centers, contexts, negatives, weights)
    expected = loops.negative_sampling(centers, contexts, negatives, weights)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_by_hand():
    one = jnp.array([[1.0, 0.0]])
    loss = losses.negative_sampling(one, one, -2 * one[None])  # log(1 + e^-1) + log(1 + e^-2)
    np.testing.assert_allclose(loss, 0.3132617 + 0.1269280, rtol=1e-6)


def test_weights_and_gradients():
    def loss(first, second, weights=None):
        return losses.negative_sampling(first, second, second[:, None], weights)

    check_weights(loss)
    check_gradient(loss)


def test_errors_name_both_shapes():
    rows = jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"contexts of shape \(2, 2\).*\(3, 2\)"):
        losses.negative_sampling(rows, rows[:2], rows[:, None])
    with pytest.raises(ValueError, match=r"negatives of shape \(3, 2\) must be \[3, count, 2\]"):
        losses.negative_sampling(rows, rows, rows)
    with pytest.raises(ValueError, match=r"weights of shape \(2,\) must be \(3,\)"):
        losses.negative_sampling(rows, rows, rows[:, None], jnp.ones(2))
