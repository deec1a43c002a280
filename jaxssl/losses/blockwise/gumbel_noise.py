"""Gumbel noise that is a function of a key and a position alone, with the numbers of `jax.random.gumbel`.

    g = -log(-log(u))         u uniform between 0 and 1, made from 32 random bits of the position

`jax.random` makes an array of noise at once. Here the number at any position of that array is
computed by itself, so that a block of a `[tokens, vocab]` array has the same noise however tokens
and vocabulary are split into blocks or sharded over devices.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # of the even and of the odd groups of four rounds
PARITY = 0x1BD11BDA


def words_of_key(key: Array) -> UInt32[Array, " 2"]:
    """Returns the two 32-bit words of the threefry `key`, uint32 `[2]`.

    Args:
      key: A typed threefry key, or its words, `[2]`.

    Returns:
      Words, uint32 `[2]`.

    Raises:
      ValueError: The key is of another kind.
    """
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    if data.shape != (2,):
        raise ValueError(
            f"key has words of shape {data.shape}, but a threefry key has 2 words; make it with "
            "jax.random.key(seed, impl='threefry2x32')"
        )
    return data


def flat_index(
    first_row: Array, tokens: int, ids: Array, vocab: int
) -> tuple[UInt32[Array, "tokens block"], UInt32[Array, "tokens block"]]:
    """Computes row * vocab + id, the position in a flattened `[rows, vocab]` array, as two 32-bit words.

    The position may exceed 2^32, and JAX has no 64-bit integers by default. The product is
    therefore computed from halves of 16 bits, as in long multiplication.

    Args:
      first_row: Number of the first of these rows in the global batch, a uint32 scalar.
      tokens: Number of rows.
      ids: Ids of tokens of the vocabulary, `[block]`.
      vocab: Size of the whole vocabulary.

    Returns:
      The high and the low word of every position, both uint32 `[tokens, block]`.
    """
    rows = first_row + jnp.arange(tokens, dtype=jnp.uint32)
    size = jnp.uint32(vocab)
    # Rows and vocabulary are below 2^32; each is split into halves of 16 bits, high * 2^16 + low.
    low, high = rows & 0xFFFF, rows >> 16
    size_low, size_high = size & 0xFFFF, size >> 16
    middle = low * size_high
    middle_sum = middle + high * size_low  # may overflow; the carry is worth 2^48
    carry = (middle_sum < middle).astype(jnp.uint32) << 16
    bottom = low * size_low
    product_low = bottom + (middle_sum << 16)
    wrapped = (product_low < bottom).astype(jnp.uint32)
    product_high = high * size_high + (middle_sum >> 16) + carry + wrapped
    added = product_low[:, None] + ids.astype(jnp.uint32)[None]
    overflow = (added < product_low[:, None]).astype(jnp.uint32)
    return product_high[:, None] + overflow, added


def gumbel(words: Array, index: tuple[Array, Array]) -> Float[Array, "tokens block"]:
    """Computes the Gumbel noise of the given positions, equal to that of `jax.random.gumbel` (mode "low").

    Args:
      words: Words of one key, `[2]`, or of a key for every token, `[2, tokens, 1]`.
      index: High and low word of every position, each `[tokens, block]`.

    Returns:
      Noise, float32 `[tokens, block]`.
    """
    bits = _threefry(words[0], words[1], *index)
    unit = jax.lax.bitcast_convert_type((bits >> 9) | jnp.uint32(0x3F800000), jnp.float32) - 1.0
    tiny = jnp.finfo(jnp.float32).tiny
    uniform = jnp.maximum(tiny, unit * (1.0 - tiny) + tiny)
    return -jnp.log(-jnp.log(uniform))


def _threefry(key_high: Array, key_low: Array, high: Array, low: Array) -> UInt32[Array, "..."]:
    """The random bits that `jax.random.bits` has at the positions high * 2^32 + low of its flat order.

    This is threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as
    1, 2, 3", section 4.2), written out. JAX's own primitive is a loop on CPUs, which is not fused
    with the computations that use the bits and costs ten times as much.
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
    """Returns the words of one threefry key for every token.

    Args:
      keys: Typed threefry keys, `[tokens]`, or their words, uint32 `[tokens, 2]`.

    Returns:
      Words, uint32 `[tokens, 2]`.

    Raises:
      ValueError: The keys are of another kind or shape.
    """
    data = jax.random.key_data(keys) if jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) else keys
    if data.ndim != 2 or data.shape[1] != 2:
        raise ValueError(
            f"keys of shape {keys.shape} with words {data.shape} must be a threefry key of 2 words for "
            "each token; make them with jax.random.split(key, tokens)"
        )
    return data
