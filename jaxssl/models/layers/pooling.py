"""One vector for every piece of a packed row.

states     [batch, length, width]
segments   [batch, length]          pieces numbered from 1, padding 0
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.models.layers.packing import positions_of

Pooling = Literal["mean", "cls", "last", "max"]


def pool_pieces(
    states: Float[Array, "batch length width"],
    segments: Int[Array, "batch length"],
    *,
    pieces: int,
    pooling: Pooling,
) -> Float[Array, "batch pieces width"]:
    """Pools the states of each of the first pieces of every row.

    Args:
      states: States, `[batch, length, width]`.
      segments: Number of the piece of every position, `[batch, length]`; 0 is padding.
      pieces: Number of pieces per row that are pooled.
      pooling: "mean" over the positions of a piece, "cls" for the state of its first token, `begin`, "last"
        for the state of its last token, `end`, or "max" for the largest number of each feature.

    Returns:
      Vectors, float32 `[batch, pieces, width]`; zeros for pieces that a row does not have.
    """
    numbers = jnp.arange(1, pieces + 1)[None, :, None]
    taken = segments[:, None, :] == numbers
    if pooling == "cls":
        taken &= (positions_of(segments) == 0)[:, None, :]
    if pooling == "last":
        after = jnp.pad(segments[:, 1:], ((0, 0), (0, 1)))
        taken &= (segments != after)[:, None, :]
    if pooling == "max":
        exact = states.astype(jnp.float32)[:, None]
        largest = jnp.where(taken[..., None], exact, -jnp.inf).max(axis=2)
        return jnp.where(taken.any(axis=2)[..., None], largest, 0.0)
    summed = jnp.einsum("bpl,blw->bpw", taken.astype(jnp.float32), states.astype(jnp.float32))
    return summed / jnp.maximum(taken.sum(axis=2, keepdims=True), 1)
