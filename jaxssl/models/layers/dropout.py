"""Dropout from an explicit key, with random bits that cost a few integer operations.

The bits of an element are a hash of (its place in the whole array, the key): the same however the
array is sharded, fused with what surrounds them, and made again by the backward pass instead of
stored. JAX's own generator, threefry, costs up to a third of a small model's step.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from jaxssl.errors import InputError


def dropout(x: Float[Array, "..."], rate: float, key: Array | None) -> Float[Array, "..."]:
    """Zero each element with probability `rate` and divide the rest by `1 - rate`.

    `key` is a typed or raw JAX key, or None for no dropout. Inside `shard_map` an array is a
    device's own part: fold the device's index into the key there.
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
    # Under checkpoint the backward pass keeps the two words of the key, not the mask.
    dropped = random_bits(words, x.shape) < jnp.uint32(min(round(rate * 2**32), 2**32 - 1))
    return jnp.where(dropped, jnp.zeros_like(x), x * (1 / (1 - rate)))


def key_words(key: Array) -> UInt32[Array, "2"]:
    """Two words that stand for a typed or a raw key of any generator."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    mixed = jnp.zeros(2, jnp.uint32)
    for left, right in key.reshape(-1, 2):  # two rows for rbg, whose halves may be equal
        # Keys as near as 0 and 1 become words that share no pattern (two Feistel rounds a row).
        right = right ^ _mix(mixed[0] ^ left + jnp.uint32(0x9E3779B9))
        left = left ^ _mix(mixed[1] ^ right)
        mixed = jnp.stack([_mix(left), _mix(right)])
    return mixed


def random_bits(words: UInt32[Array, "2"], shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Hash (place, key) to 32 bits: the place times an odd number, and Wellons' `lowbias32`.

    One word of the key is added before the hash and one is mixed in amid it, so that two keys do
    not give shifted streams. https://nullprogram.com/blog/2018/07/31/
    """
    return _mix(_place(shape) * jnp.uint32(0x9E3779B9) + words[0], words[1])


def _mix(x: Array, amid: Array | None = None) -> Array:
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = x if amid is None else x ^ amid
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def _place(shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Row-major number of every element, modulo 2**32 (those 2**32 apart share their bits)."""
    place = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = math.prod(shape[axis + 1 :]) % 2**32
        place = place + jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride)
    return place
