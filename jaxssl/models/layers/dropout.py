"""Dropout (Srivastava et al. 2014) from an explicit key, with random bits that cost a few integer operations.

The bits of an element are a hash of its index in the whole array and the key. They are the same however
the array is sharded, the compiler fuses them with the surrounding operations, and the backward pass
computes them again instead of reading a stored mask. JAX's own generator, threefry, takes up to a third
of a small model's step.
"""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

from jaxssl.errors import InputError

GOLDEN = 0x9E3779B9  # 2**32 divided by the golden ratio: multiples of it are spread evenly


def dropout(x: Float[Array, "..."], rate: float, key: Array | None) -> Float[Array, "..."]:
    """Sets each element to zero with probability `rate` and divides the others by `1 - rate`.

    Args:
      x: Array of any shape, `[...]`.
      rate: Probability, at least 0 and below 1.
      key: Typed or raw JAX key. `None`: no dropout. Inside `shard_map` an array is a device's own shard: fold
        the device's index into the key there.

    Returns:
      Array of the shape and type of `x`.

    Raises:
      InputError: `rate` is not in [0, 1).
    """
    if not 0 <= rate < 1:
        raise InputError(
            f"dropout rate={rate} is not in [0, 1); set it to a rate such as 0.1, or 0 for none"
        )
    if key is None or rate == 0:
        return x
    return _dropout(x, key_words(key), rate)


@partial(jax.checkpoint, prevent_cse=False, static_argnums=(2,))
def _dropout(x: Array, words: Array, rate: float) -> Array:
    # Under checkpoint the backward pass keeps the two words of the key, not the mask.
    kept = keeps(random_bits(words, x.shape), rate)
    return jnp.where(kept, x * (1 / (1 - rate)), jnp.zeros_like(x))


def key_words(key: Array) -> UInt32[Array, "2"]:
    """Hashes a typed or raw `key` of any generator to two words, uint32 `[2]`."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    mixed = jnp.zeros(2, jnp.uint32)
    for left, right in key.reshape(-1, 2):  # two rows for rbg, whose halves may be equal
        # Keys as close as 0 and 1 become words that share no pattern (two Feistel rounds a row).
        right = right ^ _mix(mixed[0] ^ left + jnp.uint32(GOLDEN))
        left = left ^ _mix(mixed[1] ^ right)
        mixed = jnp.stack([_mix(left), _mix(right)])
    return mixed


def random_bits(
    words: UInt32[Array, "2"],
    shape: tuple[int, ...],
    whole: tuple[int, ...] | None = None,
    first: Sequence[int | Array] = (),
) -> UInt32[Array, "..."]:
    """Hashes the index of every element of an array, and a key, to 32 random bits.

    The index is multiplied by an odd number and hashed with Wellons' `lowbias32`. One word of the key is
    added before the hash and the other is mixed in half way, so that the bits of two keys are not shifts
    of each other.

    Args:
      words: Two words of the key, `[2]` (`key_words`).
      shape: Shape of the array, or of a part of it.
      whole: Shape of the whole array of which the bits of a part are wanted. `None`: they are those of an
        array.
      first: Where the part begins in the whole array, a number for every axis.

    Returns:
      Random bits, uint32 of that shape.

    References:
      Wellons 2018, "Prospecting for hash functions", https://nullprogram.com/blog/2018/07/31/.
    """
    whole, first = whole or shape, first or (0,) * len(shape)
    # Products are made for all axes but the last, and for the last: an element takes one addition, in which
    # the key is, so that no loop over layers computes an array of indices before it begins.
    index = words[0]
    for axis in range(len(shape)):
        stride = math.prod(whole[axis + 1 :]) * GOLDEN % 2**32
        along = (*(1 for _ in shape[:axis]), shape[axis], *(1 for _ in shape[axis + 1 :]))
        position = jax.lax.broadcasted_iota(jnp.uint32, along, axis)
        position = position + jnp.asarray(first[axis]).astype(jnp.uint32)
        index = index + position * jnp.uint32(stride)
    return _mix(index, words[1])


def keeps(bits: UInt32[Array, "..."], rate: float) -> Bool[Array, "..."]:
    """Returns which elements dropout keeps, by their random `bits`, of any shape, and the dropout `rate`."""
    return bits >= jnp.uint32(min(round(rate * 2**32), 2**32 - 1))


def _mix(x: Array, amid: Array | None = None) -> Array:
    """lowbias32 of `x`; `amid` is mixed in between its two rounds."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = x if amid is None else x ^ amid
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
