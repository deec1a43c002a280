import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.losses.blockwise import gumbel_noise


def test_more_places_than_32_bits_count():
    """Row * vocab + id in two words, against Python's integers."""
    vocab, rows = 262_147, 40_000  # over 2^33 places
    ids = np.array([0, 1, vocab - 1])
    index_of = jax.jit(gumbel_noise.flat_index, static_argnums=(1, 3))
    first = 10_000  # of the rows of this device
    high, low = index_of(jnp.uint32(first), rows - first, jnp.asarray(ids), vocab)
    index = np.arange(first, rows, dtype=object)[:, None] * vocab + ids[None].astype(object)
    assert (np.asarray(high).astype(object) * 2**32 + np.asarray(low).astype(object) == index).all()
