"""Looks up rows of a table that is sharded over the mesh, without gathering the table.

Left to the compiler, a table whose width is sharded is gathered for the lookup, and its whole gradient is
summed over all devices. Here the ids are exchanged instead: along `fsdp` a device looks up its columns of
the rows that the other devices of the axis ask for, and one all-to-all gives every device all columns of
its own rows. The gradient takes the same way back, so that only a device's own shard of it is summed,
over `data`.
"""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array, Float, Int

from jaxssl.sharding.layout import mesh_axes


def look_up(
    table: Float[Array, "vocab width"], ids: Int[Array, "batch length"]
) -> Float[Array, "batch length width"] | None:
    """Looks up `table[ids]` by exchanging rows between devices.

    Args:
      table: Table, `[vocab, width]`, sharded over the logical axes "vocab" and "embed".
      ids: Numbers of rows, `[batch, length]`, sharded over the batch.

    Returns:
      Rows, `[batch, length, width]`; `None` without a surrounding mesh, and where a size does not divide
      over it.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1 or any(kind != AxisType.Auto for kind in mesh.axis_types):
        return None
    sizes = {"batch": ids.shape[0], "vocab": table.shape[0], "embed": table.shape[1]}
    axes = {logical: mesh_axes(logical, mesh) for logical in sizes}
    if any(size % axes[logical][1] for logical, size in sizes.items()):
        return None
    rows, vocab, width = (axes[logical][0] or None for logical in sizes)

    def on_device(table: Array, ids: Array) -> Array:
        if width:
            ids = jax.lax.all_gather(ids, width, axis=0, tiled=True)
        found = _look_up_shard(table, ids, vocab) if vocab else table[ids]
        if width:
            found = jax.lax.all_to_all(found, width, split_axis=0, concat_axis=2, tiled=True)
        return found

    mapped = jax.shard_map(
        on_device,
        in_specs=(PartitionSpec(vocab, width), PartitionSpec(rows)),
        out_specs=PartitionSpec(rows),
    )
    return mapped(table, ids)


def _look_up_shard(table: Array, ids: Array, vocab: tuple[str, ...]) -> Array:
    """The rows of a table whose vocabulary is sharded: each device adds those that it has."""
    own = ids - jax.lax.axis_index(vocab) * table.shape[0]
    is_here = (own >= 0) & (own < table.shape[0])
    found = jnp.where(is_here[:, :, None], table[jnp.where(is_here, own, 0)], 0)
    return jax.lax.psum(found, vocab)
