"""One vector for every piece of a packed row.

Shapes: states [batch, length, width]; segments [batch, length], pieces numbered from 1, padding 0.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.models.layers.packing import positions_of

Pooling = Literal["mean", "cls"]  # the mean over a piece's places; the state of its first, begin


def pool_pieces(
    states: Float[Array, "batch length width"],
    segments: Int[Array, "batch length"],
    *,
    pieces: int,
    pooling: Pooling,
) -> Float[Array, "batch pieces width"]:
    """The first `pieces` pieces of every row, in float32; zeros where a row has fewer."""
    numbers = jnp.arange(1, pieces + 1)[None, :, None]
    taken = segments[:, None, :] == numbers
    if pooling == "cls":
        taken &= (positions_of(segments) == 0)[:, None, :]
    summed = jnp.einsum("bpl,blw->bpw", taken.astype(jnp.float32), states.astype(jnp.float32))
    return summed / jnp.maximum(taken.sum(axis=2, keepdims=True), 1)
