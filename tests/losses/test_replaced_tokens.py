import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses
from tests.losses import loops
from tests.losses.rows import SHAPES, check_gradient, check_weights, example


@pytest.mark.parametrize("shape", SHAPES)
def test_is_the_loop(shape):
    first, second, weights = example(*shape)
    logits, replaced = first[:, 0], second[:, 0] > 0
    loss = losses.replaced_token_detection(logits, replaced, weights)
    pairs = zip(logits, replaced, strict=True)
    each = [loops.logistic_loss(float(logit), is_replaced) for logit, is_replaced in pairs]
    np.testing.assert_allclose(loss, loops.weighted(each, weights), rtol=1e-5)


def test_by_hand():
    logits, replaced, weights = (jnp.array(a) for a in ([1.0, 2.0], [True, False], [1.0, 3.0]))
    loss = losses.replaced_token_detection(logits, replaced, weights)
    # log(1 + e^-1) where replaced, log(1 + e^2) where not
    np.testing.assert_allclose(loss, (0.3132617 + 3 * 2.1269280) / 4, rtol=1e-6)
    total = losses.replaced_token_detection(logits, replaced, weights, normalize=False)
    np.testing.assert_allclose(total, 4 * loss, rtol=1e-6)


def test_electra_is_the_sum_of_its_terms():
    first, second, weights = example(5, 3)
    targets, replaced, valid = jnp.arange(5) % 3, jnp.arange(5) == 2, jnp.arange(5) < 4
    masked = weights > 1  # masks serve as weights
    loss = losses.electra(first, second[:, 0], targets, masked, replaced, valid)
    generator = losses.masked_lm(first, targets, masked.astype(float))
    detector = losses.replaced_token_detection(second[:, 0], replaced, valid.astype(float))
    np.testing.assert_allclose(loss, generator + 50 * detector, rtol=1e-6)


def test_weights_and_gradients():
    def loss(first, second, weights):
        return losses.replaced_token_detection(first[:, 0], second[:, 0] > 0, weights)

    check_weights(loss)
    _, fixed, weights = example(5, 3)
    check_gradient(lambda first, second: loss(first, fixed, weights) + 0 * second.sum())


def test_errors_name_both_shapes():
    with pytest.raises(ValueError, match=r"replaced of shape \(2,\).*\(3,\)"):
        losses.replaced_token_detection(jnp.ones(3), jnp.ones(2) > 0, jnp.ones(3))
    with pytest.raises(ValueError, match=r"weights of shape \(2,\).*\(3,\)"):
        losses.replaced_token_detection(jnp.ones(3), jnp.ones(3) > 0, jnp.ones(2))
