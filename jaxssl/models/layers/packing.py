"""Segments and positions of packed rows, made on the device from the tokens alone.

A row is pieces one after another and then padding. Every piece opens with the token `begin`:

    tokens     begin a b end  begin c d  pad pad
    segments     1   1 1  1     2   2 2   0   0
    positions    0   1 2  3     0   1 2   0   1
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

Segments = Int[Array, "batch length"]


def segments_of(
    tokens: Int[Array, "batch length"], begin: int | Array, pad: int | Array
) -> Segments:
    """Number the pieces of every row from 1; padding is 0, and so is text before any begin."""
    pieces = jnp.cumsum((tokens == begin).astype(jnp.int32), axis=-1)
    return jnp.where(tokens == pad, 0, pieces)


def positions_of(segments: Segments) -> Int[Array, "batch length"]:
    """Distance of every place from the first place of its segment; restarts at 0 in each."""
    places = jax.lax.broadcasted_iota(jnp.int32, segments.shape, segments.ndim - 1)
    before = jnp.concatenate([segments[..., :1] - 1, segments[..., :-1]], axis=-1)
    starts = jnp.where(segments != before, places, 0)
    return places - jax.lax.cummax(starts, axis=segments.ndim - 1)
