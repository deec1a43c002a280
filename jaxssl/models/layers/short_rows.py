"""Short rows side by side: on TPUs several of them share a block of the attention kernel.

rows [batch, length, width]  ->  [batch / count, count * length, width]     a segment for each row
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.models.layers.attention_choice import SMALLEST_BLOCK, platform_of_mesh
from jaxssl.sharding.layout import mesh_axes


def pack_rows(
    rows: Float[Array, "batch length width"], *, dropped: bool
) -> tuple[Float[Array, "fewer longer width"], Int[Array, "fewer longer"]]:
    """Puts short rows side by side on TPUs.

    The visible patches of an image (50 in MAE) or those of a small crop (37 in DINO) fill less than half of
    the smallest block of the attention kernel. Attention by the formula costs more than the kernel: its
    heads of 64 numbers fill half of the lanes of a register, and are transposed.

    Args:
      rows: States, `[batch, length, width]`.
      dropped: Whether there is dropout. Its bits depend on the position in the whole array, so that rows then
        stay as they are.

    Returns:
      States and segments of the packed rows; the segments are numbered from 1. On other platforms the rows
      themselves, as one segment each.
    """
    batch, length, width = rows.shape
    if platform_of_mesh() != "tpu" or dropped:
        return rows, jnp.ones((batch, length), jnp.int32)
    count = rows_for_a_block(batch, length)
    segments = jnp.repeat(jnp.arange(1, count + 1, dtype=jnp.int32), length)
    shape = (batch // count, count * length)
    return rows.reshape(*shape, width), jnp.broadcast_to(segments[None], shape)


def unpack_rows(
    packed: Float[Array, "fewer longer width"], batch: int, length: int
) -> Float[Array, "batch length width"]:
    """Returns the rows that `pack_rows` has packed.

    Args:
      packed: States of packed rows.
      batch: Number of rows before packing.
      length: Positions of a row before packing.

    Returns:
      States, `[batch, length, width]`.
    """
    return packed.reshape(batch, length, -1)


def rows_for_a_block(batch: int, length: int) -> int:
    """Chooses how many rows share a block of the attention kernel.

    Args:
      batch: Number of rows, on all devices.
      length: Positions of a row.

    Returns:
      A power of two with which every device keeps whole rows; 1 where a row fills more than half a block.
    """
    mesh = jax.sharding.get_abstract_mesh()
    ways = 1 if mesh.empty else mesh_axes("batch", mesh)[1]
    count = 1
    while 2 * count * length <= SMALLEST_BLOCK and batch % (2 * count * ways) == 0:
        count *= 2
    return count
