"""Rows of a table that is cut over the mesh, without the table moving.

Left to the compiler, a table whose width is cut is gathered for the lookup, and its whole gradient is
summed over all devices. Here the ids travel to the columns: along `fsdp` a device takes its columns of
the rows that its neighbours ask for, and one all-to-all gives every device all columns of its own.
The gradient goes the same way back, so of it only a device's part is summed, over `data`.
"""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array, Float, Int

from jaxssl.sharding.layout import mesh_axes


def look_up(
    table: Float[Array, "vocab width"], ids: Int[Array, "batch length"]
) -> Float[Array, "batch length width"] | None:
    """table[ids] by exchange of rows; None where no mesh surrounds it or a size does not divide."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1 or any(kind != AxisType.Auto for kind in mesh.axis_types):
        return None
    sizes = {"batch": ids.shape[0], "vocab": table.shape[0], "embed": table.shape[1]}
    axes = {logical: mesh_axes(logical, mesh) for logical in sizes}
    if any(size % axes[logical][1] for logical, size in sizes.items()):
        return None
    rows, vocab, width = (axes[logical][0] or None for logical in sizes)

    def of_device(table: Array, ids: Array) -> Array:
        if width:
            ids = jax.lax.all_gather(ids, width, axis=0, tiled=True)
        found = _part_of(table, ids, vocab) if vocab else table[ids]
        if width:
            found = jax.lax.all_to_all(found, width, split_axis=0, concat_axis=2, tiled=True)
        return found

    mapped = jax.shard_map(
        of_device,
        in_specs=(PartitionSpec(vocab, width), PartitionSpec(rows)),
        out_specs=PartitionSpec(rows),
    )
    return mapped(table, ids)


def _part_of(table: Array, ids: Array, vocab: tuple[str, ...]) -> Array:
    """The rows of a table whose vocabulary is cut: each device adds those that it has."""
    places = ids - jax.lax.axis_index(vocab) * table.shape[0]
    is_here = (places >= 0) & (places < table.shape[0])
    found = jnp.where(is_here[:, :, None], table[jnp.where(is_here, places, 0)], 0)
    return jax.lax.psum(found, vocab)
