import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.losses.blockwise.vocabulary_scores import HeadOptions, scores_of
from tests.losses.blockwise.heads import example


def test_softmax_from_the_scores():
    part, kernel, bias = example()
    logits = part.hidden @ kernel.T + bias[None]
    scores = scores_of(HeadOptions(6), part, kernel, bias)
    softmax = jax.nn.softmax(logits, axis=1)
    own = jnp.take_along_axis(softmax, part.targets[:, None], axis=1)[:, 0]
    others = softmax.at[jnp.arange(6), part.targets].set(0)
    np.testing.assert_allclose(scores.others / scores.total[:, None], others, atol=1e-6)
    np.testing.assert_allclose(-scores.rest / scores.total, own - 1, atol=1e-6)
    np.testing.assert_allclose(scores.log_sum, jax.nn.logsumexp(logits, axis=1), rtol=1e-6)
    np.testing.assert_allclose(scores.losses, -jnp.log(own), rtol=1e-5)
    np.testing.assert_array_equal(scores.is_right, logits.argmax(axis=1) == part.targets)
    np.testing.assert_array_equal(scores.positions, part.targets)
    assert scores.drawn is None


def test_a_sharded_vocabulary_has_the_same_losses():
    part, kernel, bias = example(vocab=8)
    options = HeadOptions(6, label_smoothing=0.2, z_loss=0.1)
    expected = scores_of(options, part, kernel, bias)

    def sharded(kernel, bias):
        return scores_of(options._replace(vocab_axis="v"), part, kernel, bias)

    found = jax.vmap(sharded, axis_name="v")(kernel.reshape(4, 2, -1), bias.reshape(4, 2))
    for name in ("losses", "log_sum", "is_right", "rest"):
        ours, whole = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(ours, [whole] * 4, rtol=1e-5, err_msg=name)
    # Each target is in one shard; in all others its position is beyond the last row.
    here = found.positions < 2
    assert (here.sum(axis=0) == 1).all()
    np.testing.assert_array_equal(here.argmax(axis=0), part.targets // 2)


def test_a_certain_prediction_keeps_its_small_rest():
    """1 - p of the target is 1e-9, which float32 cannot hold beside 1."""
    part, _, _ = example(tokens=1, dim=1, vocab=2)
    part = part._replace(hidden=jnp.ones((1, 1)), targets=jnp.zeros(1, int), weights=jnp.ones(1))
    kernel = jnp.array([[0.0], [np.log(1e-9)]])
    scores = scores_of(HeadOptions(1), part, kernel)
    np.testing.assert_allclose(scores.rest / scores.total, [1e-9], rtol=1e-5)


@pytest.mark.parametrize("target", [-1, 5])
def test_a_target_outside_the_vocabulary_gives_nan(target):
    part, kernel, _ = example()
    part = part._replace(targets=part.targets.at[3].set(target))
    losses = scores_of(HeadOptions(6), part, kernel).losses
    np.testing.assert_array_equal(jnp.isnan(losses), jnp.arange(6) == 3)
