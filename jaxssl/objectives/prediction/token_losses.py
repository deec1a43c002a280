"""The vocabulary head on any mesh: every device takes its own rows and its own shard of the vocabulary.

Left to the compiler, a loop over blocks of tokens sums the kernel's gradient over the devices once a block.
Here it is summed once: the kernel's width is gathered before the loop, and its gradient is reduced and
scattered after it. Where the vocabulary is sharded, devices exchange three numbers a token (the maximum and
the sum of its shard, and the target's logit).

    batch    rows                  count    positions of a row that are predicted
    width    of the states         vocab    size of the vocabulary
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array, Float, Int, UInt32

from jaxssl import losses
from jaxssl.models.layers.attention_choice import platform_of_mesh
from jaxssl.sharding.layout import mesh_axes

LOGITS_ON_GPU = 1 << 28  # logits of a block: 1 GB in float32


def token_losses(
    states: Float[Array, "batch count width"],
    kernel: Float[Array, "vocab width"],
    targets: Int[Array, "batch count"],
    weights: Float[Array, "batch count"],
    bias: Float[Array, " vocab"] | None = None,
    **options: Any,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Computes the cross-entropy of tokens straight from states, so that `[count, vocab]` never exists.

    On the mesh of the surrounding step (`jax.sharding.use_abstract_mesh`) this runs inside `shard_map`;
    without a mesh of several devices it runs as it is.

    Args:
      states: States at the predicted positions, `[batch, count, width]`.
      kernel: Output embedding of each token, `[vocab, width]`.
      targets: Ids of the true tokens, `[batch, count]`.
      weights: Weights of the positions, `[batch, count]`; 0 where nothing is predicted.
      bias: Bias of each token, `[vocab]`; None for none.
      options: Options of `losses.linear_cross_entropy`, such as `label_smoothing`.

    Returns:
      The weighted sum of the cross-entropies in nats and the weighted sum of the tokens that are right,
      scalars.
    """
    nats, right, _ = _on_mesh((states, kernel, targets, weights, bias, None), options)
    return nats, right


def token_losses_and_samples(
    states: Float[Array, "batch count width"],
    kernel: Float[Array, "vocab width"],
    targets: Int[Array, "batch count"],
    weights: Float[Array, "batch count"],
    bias: Float[Array, " vocab"],
    words: UInt32[Array, "batch count 2"],
    **options: Any,
) -> tuple[Float[Array, ""], Float[Array, ""], Int[Array, "batch count"]]:
    """Computes what `token_losses` does, and in the same pass draws a token for every position.

    Args:
      states: States at the predicted positions, `[batch, count, width]`.
      kernel: Output embedding of each token, `[vocab, width]`.
      targets: Ids of the true tokens, `[batch, count]`.
      weights: Weights of the positions, `[batch, count]`; 0 where nothing is predicted.
      bias: Bias of each token, `[vocab]`.
      words: The two 32-bit words of the random key of each position, `[batch, count, 2]`.
      options: Options of `losses.linear_cross_entropy_with_samples`, such as `temperature`.

    Returns:
      The weighted sums of `token_losses`, and the ids of the drawn tokens, `[batch, count]`.
    """
    return _on_mesh((states, kernel, targets, weights, bias, words), options)


def _on_mesh(arrays: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any, Any]:
    mesh = jax.sharding.get_abstract_mesh()
    options = block_on_gpu(arrays[0], arrays[1].shape[0]) | options
    if mesh.empty or mesh.size == 1 or any(kind != AxisType.Auto for kind in mesh.axis_types):
        return _head(*arrays, **options)
    rows, _ = mesh_axes("batch", mesh)
    width, vocab = _axis("embed", mesh), _axis("vocab", mesh)

    options = {"axis_name": rows or None, "vocab_axis_name": vocab, **options}

    def on_device(states: Array, kernel: Array, *others: Any) -> tuple[Any, Any, Any]:
        if width is not None:
            kernel = _gathered_width(kernel, width)
        return _head(states, kernel, *others, **options)

    by_row, whole = PartitionSpec(rows or None), PartitionSpec()
    kernel, bias = PartitionSpec(vocab, width), PartitionSpec(vocab)
    mapped = jax.shard_map(
        on_device,
        in_specs=(by_row, kernel, by_row, by_row, bias, by_row),
        out_specs=(whole, whole, by_row),
    )
    return mapped(*arrays)


def block_on_gpu(states: Any, vocab: int) -> dict[str, int]:
    """Chooses larger blocks of tokens for the vocabulary head on GPUs than `losses` does elsewhere.

    XLA copies the sum of the table's gradient in every block there. With 4,096 tokens instead of 1,024 the
    head of GPT-2 moves 11.7 GB instead of 18.4 (8,192 tokens on an H100, by the compiled program).

    Args:
      states: States, of any shape, or their shape and type.
      vocab: Size of the vocabulary, or of a device's shard.

    Returns:
      The option `block_size`, a power of two; none on other platforms and in full precision.
    """
    if platform_of_mesh() != "gpu" or states.dtype.itemsize > 2:
        return {}
    return {"block_size": 1 << max(LOGITS_ON_GPU // vocab, 256).bit_length() - 1}


def _gathered_width(kernel: Array, axis: str) -> Array:
    """Gathers the columns of a kernel that is sharded along them.

    They are gathered along a new first axis: of its gradient TPUs scatter whole tiles, whereas they would
    copy columns to every device.
    """
    parts = jax.lax.all_gather(kernel, axis)
    return jnp.moveaxis(parts, 0, 1).reshape(kernel.shape[0], -1)


def _axis(logical: str, mesh: Any) -> str | None:
    """Returns the mesh axis over which a logical axis is sharded, or None."""
    names, _ = mesh_axes(logical, mesh)
    return names[0] if names else None


def _head(
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
