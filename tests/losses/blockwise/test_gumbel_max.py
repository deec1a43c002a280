import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.losses.blockwise import gumbel_max
from jaxssl.losses.blockwise.gumbel_max import BestToken
from jaxssl.losses.blockwise.gumbel_noise import words_of_keys


@pytest.fixture
def example(key):
    """Words of keys, and logits of 6 tokens over 8 words."""
    logits = 2 * jax.random.normal(jax.random.key(1), (6, 8))
    return jax.random.split(key, 6), logits


def test_draws_by_each_key_what_jax_draws(example):
    keys, logits = example
    drawn = gumbel_max.draw(words_of_keys(keys), logits, temperature=0.7)
    np.testing.assert_array_equal(drawn, jax.vmap(jax.random.categorical)(keys, logits / 0.7))
    never = gumbel_max.draw(words_of_keys(keys), logits, temperature=0.7, never=drawn)
    assert not (never == drawn).any()


def test_a_sharded_vocabulary_draws_the_same(example):
    keys, logits = example
    words = words_of_keys(keys)
    shards = jnp.moveaxis(logits.reshape(6, 4, 2), 1, 0)
    draw = lambda part: gumbel_max.draw(words, part, vocab_axis_name="v")  # noqa: E731
    drawn = jax.vmap(draw, axis_name="v")(shards)
    np.testing.assert_array_equal(drawn, [gumbel_max.draw(words, logits)] * 4)


def test_of_equal_scores_the_lowest_id_is_best():
    scores = jnp.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    best = gumbel_max.best_of(scores, jnp.array([10, 11, 12]))
    assert best.score.tolist() == [3, 2]
    assert best.token.tolist() == [11, 10]
    later = BestToken(jnp.array([3.0, 2.5]), jnp.array([20, 21]))
    assert best.or_better(later).token.tolist() == [11, 21]
    over = jax.vmap(lambda b: gumbel_max.best_over_devices(b, 99, "i"), axis_name="i")
    both = jax.tree.map(lambda *a: jnp.stack(a), later, best)
    assert over(both).tolist() == [[11, 21]] * 2


def test_shards_are_counted():
    first = jax.vmap(lambda _: gumbel_max.first_on_device(5, "i"), axis_name="i")(jnp.zeros(3))
    assert first.tolist() == [0, 5, 10]
    assert gumbel_max.first_on_device(5, None) == 0
    assert gumbel_max.axis_size(None) == 1
