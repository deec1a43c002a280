"""Dropout from an explicit key, with random bits that cost a few integer operations.

The bit of an element is a hash of (its place in the whole array, the key), so it is the same however the array is
sharded, it fuses with what surrounds it, and the backward pass makes it again instead of storing it.
Threefry, JAX's own generator, costs a third of a small model's step; dropout needs no more than well mixed bits.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from jaxssl.errors import InputError


def dropout(x: Float[Array, "..."], rate: float, key: Array | None) -> Float[Array, "..."]:
    """Zero each element with probability `rate` and divide the rest by `1 - rate`.

    `key` is a typed or raw JAX key, or None for no dropout. Inside `shard_map` the array is only a device's own part:
    fold the device's index into the key there.
    Raises `InputError` for a rate outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise InputError(
            f"dropout rate {rate} is not in [0, 1); pass a rate such as 0.1, or 0 for none"
        )
    if key is None or rate == 0:
        return x
    return _dropout(x, key_words(key), rate)


@partial(jax.checkpoint, prevent_cse=False, static_argnums=(2,))
def _dropout(x: Array, words: Array, rate: float) -> Array:
    # Under checkpoint, what is kept for the backward pass is the two words of the key, not the mask.
    dropped = random_bits(words, x.shape) < jnp.uint32(round(rate * 2**32))
    return jnp.where(dropped, jnp.zeros_like(x), x * (1 / (1 - rate)))


def key_words(key: Array) -> UInt32[Array, "2"]:
    """Two words that stand for a typed or a raw key of any generator."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    words = key.reshape(-1, 2)
    return jax.lax.reduce(words, jnp.uint32(0), jax.lax.bitwise_xor, (0,))


def random_bits(words: UInt32[Array, "2"], shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Hash (place, key) to 32 bits: Wellons' `lowbias32`, with a word of the key before and a word amid the rounds.

    https://nullprogram.com/blog/2018/07/31/ (bias 0.17, near the 0.16 of a perfect function).
    """
    x = _place(shape) * jnp.uint32(0x9E3779B9) + words[0]
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = x ^ words[1]
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def _place(shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Row-major number of every element in the whole array, modulo 2**32."""
    place = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = math.prod(shape[axis + 1 :]) % 2**32
        place = place + jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride)
    return place
