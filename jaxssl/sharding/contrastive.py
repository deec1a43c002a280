"""Contrastive losses on any mesh: every device holds its own rows, and meets those of the others.

Left to the compiler, a loop over blocks of a batch that is cut over devices would collect it on each.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array, Float

from jaxssl.sharding.layout import mesh_axes


def over_all_rows(
    loss: Callable[..., Float[Array, ""]],
    first: Float[Array, "rows dim"],
    second: Float[Array, "rows dim"],
    weights: Float[Array, " rows"],
    trained: Mapping[str, Array] | None = None,
    **options: Any,
) -> Float[Array, ""]:
    """`loss(first, second, weights, ...)` of `losses.contrastive` over the rows of all devices.

    On the mesh of the surrounding step (`jax.sharding.use_abstract_mesh`) this runs inside `shard_map`;
    without one, or where the rows do not divide, as it stands. `trained` are options that have a
    gradient, such as a temperature.
    """
    trained = {} if trained is None else dict(trained)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1 or any(kind != AxisType.Auto for kind in mesh.axis_types):
        return loss(first, second, weights, **trained, **options)
    rows, ways = mesh_axes("batch", mesh)
    if ways == 1 or first.shape[0] % ways:
        return loss(first, second, weights, **trained, **options)

    def of_device(first: Array, second: Array, weights: Array, trained: Any) -> Array:
        return loss(first, second, weights, axis_name=rows, **trained, **options)

    cut = PartitionSpec(rows)
    return jax.shard_map(
        of_device, in_specs=(cut, cut, cut, PartitionSpec()), out_specs=PartitionSpec()
    )(first, second, weights, trained)
