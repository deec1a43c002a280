"""The vocabulary head on any mesh: every device takes its own rows and its own part of the vocabulary.

Left to the compiler, a loop over blocks of tokens sums the kernel's gradient over the devices once a
block. Here it crosses them once: the kernel's width is gathered before the loop and its gradient is
reduced and scattered after it, and of a vocabulary that is cut nothing but three numbers a token is
exchanged (its maximum, its sum, its target's logit).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array, Float, Int, UInt32

from jaxssl import losses
from jaxssl.sharding.layout import mesh_axes


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
    nats, right, _ = _on_mesh((states, kernel, targets, weights, bias, None), options)
    return nats, right


def token_losses_and_samples(
    states: Float[Array, "batch places width"],
    kernel: Float[Array, "vocab width"],
    targets: Int[Array, "batch places"],
    weights: Float[Array, "batch places"],
    bias: Float[Array, " vocab"],
    words: UInt32[Array, "batch places 2"],
    **options: Any,
) -> tuple[Float[Array, ""], Float[Array, ""], Int[Array, "batch places"]]:
    """The same, and a token drawn for every place, whose key has these words.

    `options` are those of `losses.linear_cross_entropy_with_samples`.
    """
    return _on_mesh((states, kernel, targets, weights, bias, words), options)


def _on_mesh(arrays: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any, Any]:
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1 or any(kind != AxisType.Auto for kind in mesh.axis_types):
        return _of_rows(*arrays, **options)
    rows, _ = mesh_axes("batch", mesh)
    width, vocab = _axis("embed", mesh), _axis("vocab", mesh)

    options = {"axis_name": rows or None, "vocab_axis_name": vocab, **options}

    def of_device(states: Array, kernel: Array, *others: Any) -> tuple[Any, Any, Any]:
        if width is not None:
            kernel = _gathered_width(kernel, width)
        return _of_rows(states, kernel, *others, **options)

    by_row, whole = PartitionSpec(rows or None), PartitionSpec()
    kernel, bias = PartitionSpec(vocab, width), PartitionSpec(vocab)
    mapped = jax.shard_map(
        of_device,
        in_specs=(by_row, kernel, by_row, by_row, bias, by_row),
        out_specs=(whole, whole, by_row),
    )
    return mapped(*arrays)


def _gathered_width(kernel: Array, axis: str) -> Array:
    """All columns of a kernel that is cut by them.

    Along a new first axis: of the gradient TPUs scatter whole tiles, and copy columns to everyone.
    """
    parts = jax.lax.all_gather(kernel, axis)
    return jnp.moveaxis(parts, 0, 1).reshape(kernel.shape[0], -1)


def _axis(logical: str, mesh: Any) -> str | None:
    """The one mesh axis that a logical axis is cut over."""
    names, _ = mesh_axes(logical, mesh)
    return names[0] if names else None


def _of_rows(
    states: Array,
    kernel: Array,
    targets: Array,
    weights: Array,
    bias: Array | None,
    words: Array | None,
    **options: Any,
) -> tuple[Array, Array, Array | None]:
    flat = (states.reshape(-1, states.shape[-1]), kernel, targets.reshape(-1), weights.reshape(-1))
    options = {"bias": bias, "normalize": False, **options}
    if words is None:
        return *losses.linear_cross_entropy_with_accuracy(*flat, **options), None
    keys = words.reshape(-1, 2)
    nats, right, drawn = losses.linear_cross_entropy_with_samples(keys, *flat, **options)
    return nats, right, drawn.reshape(targets.shape)
