from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses
from jaxssl.losses import token_sampling


@pytest.mark.parametrize("sizes", [(1, 1), (9, 23), (64, 100)])
def test_draws_what_the_dense_sampler_draws(sizes, key):
    tokens, vocab = sizes
    random = np.random.default_rng(vocab)
    hidden = jnp.asarray(random.normal(size=(tokens, 4)), jnp.float32)
    kernel = jnp.asarray(random.normal(size=(vocab, 4)), jnp.float32)
    bias = jnp.asarray(random.normal(size=vocab), jnp.float32)
    dense = jax.random.categorical(key, (hidden @ kernel.T + bias[None]) / 0.8)
    for block in (1, 7, 4096):
        if block >= vocab // 20:
            draw = partial(losses.sample_tokens, bias=bias, temperature=0.8, block_size=block)
            np.testing.assert_array_equal(jax.jit(draw)(key, hidden, kernel), dense)


def test_more_places_than_32_bits_count():
    """Row * vocab + id in two words, against Python's integers."""
    vocab, rows = 262_147, 40_000  # over 2^33 places
    ids = np.array([0, 1, vocab - 1])
    high, low = jax.jit(partial(token_sampling._flat_index, rows, vocab=vocab))(jnp.asarray(ids))
    index = np.arange(rows, dtype=object)[:, None] * vocab + ids[None].astype(object)
    assert (np.asarray(high).astype(object) * 2**32 + np.asarray(low).astype(object) == index).all()


def test_draws_by_probability(key):
    kernel = jnp.log(jnp.array([[0.5], [0.3], [0.2]]))
    drawn = losses.sample_tokens(key, jnp.ones((4000, 1)), kernel, block_size=2)
    np.testing.assert_allclose(np.bincount(drawn) / 4000, [0.5, 0.3, 0.2], atol=0.03)


def test_other_keys_are_refused():
    with pytest.raises(ValueError, match="threefry"):
        losses.sample_tokens(jax.random.key(0, impl="rbg"), jnp.ones((2, 3)), jnp.ones((4, 3)))
