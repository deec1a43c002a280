"""The vocabulary head on any mesh: every device takes its own rows and its own part of the vocabulary.

Left to the compiler, a loop over blocks of tokens sums the kernel's gradient over the devices once a
block. Here it crosses them once: the kernel's width is gathered before the loop and its gradient is
reduced and scattered after it, and of a vocabulary that is cut nothing but three numbers a token is
exchanged (its maximum, its sum, its target's logit).
"""

from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.models.layout import mesh_axes


def token_losses(
    states: Float[Array, "batch places width"],
    kernel: Float[Array, "vocab width"],
    targets: Int[Array, "batch places"],
    weights: Float[Array, "batch places"],
    bias: Float[Array, " vocab"] | None = None,
    **options: Any,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The weighted sum of cross-entropies, and that of what is right, without [places, vocab].

    `options` are those of `losses.linear_cross_entropy`. On the mesh of the surrounding step
    (`jax.sharding.use_abstract_mesh`) this runs inside `shard_map`; without one as it stands.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1 or any(kind != AxisType.Auto for kind in mesh.axis_types):
        return _of_rows(states, kernel, targets, weights, bias, **options)
    rows, _ = mesh_axes("batch", mesh)
    width, vocab = _axis("embed", mesh), _axis("vocab", mesh)

    def of_device(
        states: Array, kernel: Array, targets: Array, weights: Array, bias: Array | None
    ) -> tuple[Array, Array]:
        if width is not None:
            kernel = jax.lax.all_gather(kernel, width, axis=1, tiled=True)
        return _of_rows(
            states,
            kernel,
            targets,
            weights,
            bias,
            axis_name=rows or None,
            vocab_axis_name=vocab,
            **options,
        )

    by_row = PartitionSpec(rows or None)
    specs = (by_row, PartitionSpec(vocab, width), by_row, by_row, PartitionSpec(vocab))
    return jax.shard_map(of_device, in_specs=specs, out_specs=PartitionSpec())(
        states, kernel, targets, weights, bias
    )


def _axis(logical: str, mesh: Any) -> str | None:
    """The one mesh axis that a logical axis is cut over."""
    names, _ = mesh_axes(logical, mesh)
    return names[0] if names else None


def _of_rows(
    states: Array, kernel: Array, targets: Array, weights: Array, bias: Array | None, **options: Any
) -> tuple[Array, Array]:
    return losses.linear_cross_entropy_with_accuracy(
        states.reshape(-1, states.shape[-1]),
        kernel,
        targets.reshape(-1),
        weights.reshape(-1),
        bias=bias,
        normalize=False,
        **options,
    )
