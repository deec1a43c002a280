"""Contrastive losses on any mesh: every device compares its own rows with those of all devices.

Otherwise the compiler would gather a sharded batch on every device for a loop over blocks of its rows.
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
    """Computes a contrastive loss over the rows of all devices.

    On the mesh of the surrounding step (`jax.sharding.use_abstract_mesh`) the loss runs inside
    `shard_map`. It is called directly without such a mesh, and where the rows do not divide over its
    devices.

    Args:
      loss: Function `loss(first, second, weights, axis_name=..., ...)` such as those of
        `jaxssl.losses.contrastive`.
      first: Embeddings, `[rows, dim]`.
      second: Embeddings that they are compared with, `[rows, dim]`.
      weights: Weights of the rows, `[rows]`.
      trained: Keyword arguments of the loss that have a gradient, such as a temperature.
      options: Other keyword arguments of the loss.

    Returns:
      Scalar loss of the global batch.
    """
    trained = {} if trained is None else dict(trained)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1 or any(kind != AxisType.Auto for kind in mesh.axis_types):
        return loss(first, second, weights, **trained, **options)
    rows, ways = mesh_axes("batch", mesh)
    if ways == 1 or first.shape[0] % ways:
        return loss(first, second, weights, **trained, **options)

    def on_device(first: Array, second: Array, weights: Array, trained: Any) -> Array:
        return loss(first, second, weights, axis_name=rows, **trained, **options)

    by_row = PartitionSpec(rows)
    return jax.shard_map(
        on_device,
        in_specs=(by_row, by_row, by_row, PartitionSpec()),
        out_specs=PartitionSpec(),
    )(first, second, weights, trained)
