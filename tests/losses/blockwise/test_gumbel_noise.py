import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.losses.blockwise import gumbel_noise


def test_positions_beyond_32_bits():
    """Row * vocab + id in two words, against Python's integers."""
    vocab, rows = 262_147, 40_000  # over 2^33 positions
    ids = np.array([0, 1, vocab - 1])
    index_of = jax.jit(gumbel_noise.flat_index, static_argnums=(1, 3))
    first = 10_000  # of the rows of this device
    high, low = index_of(jnp.uint32(first), rows - first, jnp.asarray(ids), vocab)
    index = np.arange(first, rows, dtype=object)[:, None] * vocab + ids[None].astype(object)
    assert (np.asarray(high).astype(object) * 2**32 + np.asarray(low).astype(object) == index).all()


def test_noise_at_a_position_is_that_of_jax(key):
    words = gumbel_noise.words_of_key(key)
    whole = jax.random.gumbel(key, (6, 5))
    index = gumbel_noise.flat_index(jnp.uint32(2), 3, jnp.array([1, 4]), 5)
    np.testing.assert_array_equal(gumbel_noise.gumbel(words, index), whole[2:5][:, [1, 4]])


def test_noise_of_a_key_for_every_token_is_that_of_each_key(key):
    keys = jax.random.split(key, 3)
    words = gumbel_noise.words_of_keys(keys)
    index = (jnp.zeros((1, 1), jnp.uint32), jnp.arange(7, dtype=jnp.uint32)[None])
    expected = jax.vmap(lambda key: jax.random.gumbel(key, (7,)))(keys)
    noise = gumbel_noise.gumbel(words.T[:, :, None], index)
    np.testing.assert_array_equal(noise, expected)


def test_keys_may_be_their_words_and_other_kinds_are_refused(key):
    words = jax.random.key_data(key)
    np.testing.assert_array_equal(gumbel_noise.words_of_key(words), words)
    np.testing.assert_array_equal(gumbel_noise.words_of_keys(words[None]), words[None])
    with pytest.raises(ValueError, match="a threefry key has 2 words"):
        gumbel_noise.words_of_key(jax.random.key(0, impl="rbg"))
    with pytest.raises(ValueError, match="a threefry key of 2 words for each token"):
        gumbel_noise.words_of_keys(key)
