"""Gumbel noise addressed by position."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # of threefry, by turns
PARITY = 0x1BD11BDA


def words_of_key(key: Array) -> UInt32[Array, " 2"]:
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    if data.shape != (2,):
        raise ValueError(
            f"a threefry key has 2 words, this one has shape {data.shape}; make it with "
            "jax.random.key(seed, impl='threefry2x32')"
        )
    return data


def flat_index(
    first_row: Array, tokens: int, ids: Array, vocab: int
) -> tuple[UInt32[Array, "tokens block"], UInt32[Array, "tokens block"]]:
    """row * vocab + id in two words of 32 bits: there may be more than 2^32 places."""
    rows = first_row + jnp.arange(tokens, dtype=jnp.uint32)
    size = jnp.uint32(vocab)
    # Rows below 2^32, in halves of 16 bits: (h 2^16 + l) * vocab, vocab below 2^32 likewise.
    low, high = rows & 0xFFFF, rows >> 16
    size_low, size_high = size & 0xFFFF, size >> 16
    middle = low * size_high
    middle_sum = middle + high * size_low  # may wrap, and its carry is worth 2^48
    carry = (middle_sum < middle).astype(jnp.uint32) << 16
    bottom = low * size_low
    product_low = bottom + (middle_sum << 16)
    wrapped = (product_low < bottom).astype(jnp.uint32)
    product_high = high * size_high + (middle_sum >> 16) + carry + wrapped
    added = product_low[:, None] + ids.astype(jnp.uint32)[None]
    overflow = (added < product_low[:, None]).astype(jnp.uint32)
    return product_high[:, None] + overflow, added


def gumbel(words: Array, index: tuple[Array, Array]) -> Float[Array, "tokens block"]:
    """jax.random.gumbel's numbers (mode "low") at these places of its flat order.

    `words` are those of one key [2], or of a key for every token [2, tokens, 1].
    """
    bits = _threefry(words[0], words[1], *index)
    unit = jax.lax.bitcast_convert_type((bits >> 9) | jnp.uint32(0x3F800000), jnp.float32) - 1.0
    tiny = jnp.finfo(jnp.float32).tiny
    uniform = jnp.maximum(tiny, unit * (1.0 - tiny) + tiny)
    return -jnp.log(-jnp.log(uniform))


def _threefry(key_high: Array, key_low: Array, high: Array, low: Array) -> UInt32[Array, "..."]:
    """jax.random.bits of a key at the places high * 2^32 + low of its flat order.

    Threefry-2x32 of 20 rounds (Salmon et al. 2011, section 4.2), written out: JAX's primitive is a loop
    on CPUs, which does not fuse with what takes the bits and costs ten times as much.
    """
    keys = (key_high, key_low, key_high ^ key_low ^ jnp.uint32(PARITY))
    left, right = high + keys[0], low + keys[1]
    for group in range(5):
        for bits in ROTATIONS[group % 2]:
            left = left + right
            right = ((right << bits) | (right >> (32 - bits))) ^ left
        left = left + keys[(group + 1) % 3]
        right = right + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return left ^ right


def words_of_keys(keys: Array) -> UInt32[Array, "tokens 2"]:
    """Of one threefry key for every token, typed or as words already."""
    data = jax.random.key_data(keys) if jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) else keys
    if data.ndim != 2 or data.shape[1] != 2:
        raise ValueError(
            f"keys of shape {keys.shape} with words {data.shape} must be a threefry key of 2 words for "
            "each token; make them with jax.random.split(key, tokens)"
        )
    return data
