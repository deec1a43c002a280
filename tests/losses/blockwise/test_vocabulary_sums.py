import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.losses.blockwise.gumbel_noise import words_of_keys
from jaxssl.losses.blockwise.vocabulary_scores import HeadOptions
from jaxssl.losses.blockwise.vocabulary_sums import checked_head, weighted_totals
from tests.losses.blockwise.heads import dense_loss, example


@pytest.mark.slow
@pytest.mark.parametrize("block", [None, 1, 4])
def test_sums_and_gradients_are_those_of_the_formulas(block):
    part, kernel, bias = example(tokens=10)
    options = HeadOptions(block, label_smoothing=0.1, z_loss=0.1)

    def ours(hidden, kernel, bias):
        loss, right, drawn = weighted_totals(
            options, hidden, kernel, part.targets, part.weights, bias
        )
        assert drawn is None
        return loss, right

    def dense(hidden, kernel, bias):
        return dense_loss(hidden, kernel, bias, part, label_smoothing=0.1, z_loss=0.1)

    arrays = (part.hidden, kernel, bias)
    (loss, right), gradients = jax.value_and_grad(ours, (0, 1, 2), has_aux=True)(*arrays)
    expected, references = jax.value_and_grad(dense, (0, 1, 2))(*arrays)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(ours(*arrays)[0], expected, rtol=1e-5)
    for gradient, reference in zip(gradients, references, strict=True):
        np.testing.assert_allclose(gradient, reference, rtol=1e-4, atol=1e-6)
    is_right = (part.hidden @ kernel.T + bias[None]).argmax(axis=1) == part.targets
    np.testing.assert_allclose(right, (is_right * part.weights).sum(), rtol=1e-6)


def test_the_gradient_by_a_weight_is_the_loss_of_its_token():
    part, kernel, bias = example()
    weights = part.weights + 0.1  # all of them positive
    total = lambda w: weighted_totals(  # noqa: E731
        HeadOptions(2), part.hidden, kernel, part.targets, w, bias
    )[0]
    each = [
        dense_loss(part.hidden, kernel, bias, part._replace(weights=jnp.eye(6)[i]))
        for i in range(6)
    ]
    np.testing.assert_allclose(jax.grad(total)(weights), each, rtol=1e-5)


@pytest.mark.parametrize("block", [None, 4])
def test_tokens_without_weight_draw_zero(key, block):
    part, kernel, _ = example(tokens=10)
    weights = part.weights.at[4:].set(0)
    words = words_of_keys(jax.random.split(key, 10))
    _, _, drawn = weighted_totals(
        HeadOptions(block), part.hidden, kernel, part.targets, weights, None, words
    )
    expected = jax.vmap(jax.random.categorical)(jax.random.split(key, 10), part.hidden @ kernel.T)
    np.testing.assert_array_equal(drawn, jnp.where(weights > 0, expected, 0))


def test_errors_name_both_shapes():
    part, kernel, bias = example()
    arrays = part.hidden, kernel, part.targets, part.weights, bias
    with pytest.raises(ValueError, match=r"need targets of shape \(6,\), not \(5,\)"):
        checked_head(*arrays[:2], part.targets[:5], *arrays[3:], 2, None)
    with pytest.raises(ValueError, match=r"hidden \(6, 4\) and kernel \(4, 5\).*kernel.T"):
        checked_head(part.hidden, kernel.T, *arrays[2:], 2, None)
    with pytest.raises(ValueError, match="block_size=-1 must be an integer of at least 1.*tokens"):
        checked_head(*arrays, -1, None)
