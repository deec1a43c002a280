from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses
from tests.losses import loops
from tests.losses.test_softmax_cross_entropy import OPTIONS, example


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("normalize", [True, False])
def test_masked_lm_is_the_loop(options, normalize):
    arrays = example((2, 3, 5))
    ours = jax.jit(partial(losses.masked_lm, normalize=normalize, **options))(*arrays)
    reference = loops.masked_lm(*arrays, normalize, **options)
    np.testing.assert_allclose(ours, reference, rtol=1e-5, atol=1e-6)


def test_next_sentence_by_hand():
    loss = losses.next_sentence(jnp.array([[0.0, 1.0], [2.0, 0.0]]), jnp.array([1, 1]))
    np.testing.assert_allclose(loss, (0.3132617 + 2.1269280) / 2, rtol=1e-6)


def test_causal_lm_shifts():
    logits, tokens, weights = example((2, 5, 7))
    ours = losses.causal_lm(logits, tokens, weights)
    reference = loops.masked_lm(logits[:, :-1], tokens[:, 1:], weights[:, 1:])
    np.testing.assert_allclose(ours, reference, rtol=1e-5)
    moved = logits.at[:, -1].add(5.0)  # the last position predicts nothing
    np.testing.assert_array_equal(losses.causal_lm(moved, tokens, weights), ours)


def test_per_example_forms_weighted_by_hand_are_the_loss():
    logits, tokens, weights = example((2, 5, 7))
    each = losses.masked_lm_per_example(logits, tokens)
    total = losses.masked_lm(logits, tokens, weights, normalize=False)
    np.testing.assert_allclose((each * weights).sum(), total, rtol=1e-6)
    each = losses.causal_lm_per_example(logits, tokens)
    np.testing.assert_allclose(each.mean(), losses.causal_lm(logits, tokens), rtol=1e-6)


def test_errors_name_both_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3, 5\).*\(2, 3\).*not \(3, 2\)"):
        losses.masked_lm(jnp.zeros((2, 3, 5)), jnp.zeros((3, 2), int), jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"weights of shape \(2, 1\) must be \(2, 3\)"):
        losses.masked_lm(jnp.zeros((2, 3, 5)), jnp.zeros((2, 3), int), jnp.zeros((2, 1)))
    with pytest.raises(ValueError, match=r"need tokens of shape \(2, 3\)"):
        losses.causal_lm(jnp.zeros((2, 3, 5)), jnp.zeros((2, 4), int))
    with pytest.raises(ValueError, match=r"weights of shape \(2, 4\) must be \(2, 3\)"):
        losses.causal_lm(jnp.zeros((2, 3, 5)), jnp.zeros((2, 3), int), jnp.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"logits of shape \(4, 3\) must be \[batch, 2\]"):
        losses.next_sentence(jnp.zeros((4, 3)), jnp.zeros(4, int))
    with pytest.raises(ValueError, match="label_smoothing=1.5"):
        losses.masked_lm(jnp.zeros((2, 5)), jnp.zeros(2, int), jnp.ones(2), label_smoothing=1.5)
