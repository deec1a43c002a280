"""Segments and positions of packed rows, computed on the device from the tokens alone.

A row is pieces (documents or windows of them) one after another, and then padding. Every piece starts
with the token `begin`:

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
    """Numbers the pieces of every row from 1.

    Args:
      tokens: Token ids, `[batch, length]`.
      begin: Id of the token that every piece starts with.
      pad: Id of padding.

    Returns:
      Segment ids, int32 `[batch, length]`; 0 for padding and for tokens before the first `begin`.
    """
    pieces = jnp.cumsum((tokens == begin).astype(jnp.int32), axis=-1)
    return jnp.where(tokens == pad, 0, pieces)


def positions_of(segments: Segments) -> Int[Array, "batch length"]:
    """Computes the distance of every token from the first token of its segment.

    Args:
      segments: Segment ids, `[batch, length]`.

    Returns:
      Positions, int32 `[batch, length]`, which start at 0 in every segment, padding included.
    """
    indices = jax.lax.broadcasted_iota(jnp.int32, segments.shape, segments.ndim - 1)
    before = jnp.concatenate([segments[..., :1] - 1, segments[..., :-1]], axis=-1)
    starts = jnp.where(segments != before, indices, 0)
    return indices - jax.lax.cummax(starts, axis=segments.ndim - 1)
