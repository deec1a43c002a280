import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses
from tests.losses import loops
from tests.losses.rows import SHAPES, check_gradient, check_weights, example

NORMALIZED = [(shape, True) for shape in SHAPES if shape[1] > 1]  # one number has no variance


@pytest.mark.parametrize(
    ("shape", "normalize_target"), [(shape, False) for shape in SHAPES] + NORMALIZED
)
def test_is_the_loop(shape, normalize_target):
    first, second, weights = example(*shape)
    loss = losses.masked_reconstruction(first, second, weights, normalize_target=normalize_target)
    expected = loops.masked_reconstruction(first, second, weights, normalize_target)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_by_hand():
    target, weights = jnp.array([[1.0, 3.0], [2.0, 2.0]]), jnp.array([1.0, 3.0])
    loss = losses.masked_reconstruction(jnp.zeros((2, 2)), target, weights)
    np.testing.assert_allclose(loss, (5 + 3 * 4) / 4)
    # Mean 2 and unbiased variance 2: -1 / sqrt(2) and 1 / sqrt(2), of which the mean square is 1/2.
    each = losses.masked_reconstruction_per_example(
        jnp.zeros((1, 2)), target[:1], normalize_target=True
    )
    np.testing.assert_allclose(each, [0.5], rtol=1e-5)


def test_the_target_is_not_differentiated():
    first, second, weights = example(5, 3)
    for normalize_target in (True, False):
        loss = lambda t, n=normalize_target: losses.masked_reconstruction(  # noqa: E731
            first, t, weights, normalize_target=n
        )
        assert (jax.grad(loss)(second) == 0).all()


def test_an_even_patch_is_standardised_to_zeros():
    each = losses.masked_reconstruction_per_example(
        jnp.ones((1, 4)), jnp.full((1, 4), 0.7), normalize_target=True
    )
    np.testing.assert_allclose(each, [1.0], rtol=1e-5)


def test_weights_and_gradients():
    def loss(first, second, weights):
        return losses.masked_reconstruction(first, second, weights, normalize_target=True)

    check_weights(loss)
    _, fixed, weights = example(5, 3)
    check_gradient(lambda first, second: loss(first, fixed, weights) + 0 * second.sum())


def test_errors_name_both_shapes():
    rows = jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"target of shape \(2, 2\).*\(3, 2\)"):
        losses.masked_reconstruction(rows, rows[:2], jnp.ones(3))
    with pytest.raises(ValueError, match=r"weights of shape \(2,\) must be \(3,\)"):
        losses.masked_reconstruction(rows, rows, jnp.ones(2))
