"""Weighted sums of the losses of a vocabulary head over all tokens, block by block, with their gradient.

Two scans over the blocks: one computes the loss alone, the other forms the gradient as well. Which
of them runs is decided by `forward_gradients.with_formed_gradient`.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxssl.losses.arguments import (
    check_block_size,
    check_classes,
    check_floats,
    checked_weights,
)
from jaxssl.losses.axes import zero_of
from jaxssl.losses.blockwise.forward_gradients import with_formed_gradient
from jaxssl.losses.blockwise.token_blocks import (
    Blocks,
    default_block,
    join_blocks,
    split_into_blocks,
)
from jaxssl.losses.blockwise.vocabulary_gradients import Sums, block_gradients, slice_count
from jaxssl.losses.blockwise.vocabulary_scores import HeadOptions, nothing_drawn, scores_of
from jaxssl.losses.precision import gradient_type, softmax_type


def weighted_totals(
    options: HeadOptions,
    hidden: Array,
    kernel: Array,
    targets: Array,
    weights: Array,
    bias: Array | None,
    words: Array | None = None,
) -> tuple[Array, Array, Any]:
    """Computes the weighted sums of the losses and of the tokens predicted right, and draws tokens.

    Args:
      options: Options of the head.
      hidden: Hidden states, `[tokens, dim]`.
      kernel: Output embeddings, `[vocab, dim]`, or this device's shard of them.
      targets: Ids of the whole vocabulary, `[tokens]`.
      weights: Non-negative weights, `[tokens]`.
      bias: Number added to each logit, `[vocab]`, or None.
      words: Words of a key for every token, uint32 `[tokens, 2]`; None draws nothing.

    Returns:
      Weighted sum of the losses, weighted sum of the tokens predicted right (both scalars), and the
      drawn tokens, `[tokens]`, or None.
    """
    block = options.block or default_block(hidden.shape[1], kernel.shape[0], hidden.dtype)
    slices = 1 if kernel.dtype == softmax_type(hidden) else slice_count(kernel.size)
    options = options._replace(block=block, slices=slices)
    loss, (right, drawn) = with_formed_gradient(
        partial(_weighted_sums, options),
        partial(_sums_and_gradients, options),
        (hidden, kernel, weights.astype(softmax_type(hidden)), *([] if bias is None else [bias])),
        (targets, words),
        sum_axis=options.vocab_axis,
    )
    return loss, right, drawn


def _zeros(options: HeadOptions, arrays: tuple[Array, ...], targets: Array) -> tuple[Array, Array]:
    """Two zeros at which sums start: for sums over the whole vocabulary, and for sums over a shard.

    The first does not vary over the vocabulary's mapped axis, the second does.
    """
    part = zero_of(*arrays, targets).astype(softmax_type(arrays[0]))
    return part if options.vocab_axis is None else jax.lax.psum(part, options.vocab_axis), part


def _weighted_sums(
    options: HeadOptions, arrays: tuple[Array, ...], constants: tuple[Array, Array | None]
) -> tuple[Array, tuple[Array, Any]]:
    """The sums without a gradient, for `with_formed_gradient`: (loss, (right, drawn tokens))."""
    hidden, kernel, weights, *bias = arrays
    targets, words = constants
    kernel = kernel.astype(hidden.dtype)
    zero, _ = _zeros(options, arrays, targets)

    def add(sums: Sums, part: Blocks) -> tuple[Sums, Array | None]:
        """Adds a block of tokens, or skips it if it has no weight."""

        def count(sums: Sums) -> tuple[Sums, Array | None]:
            scores = scores_of(options, part, kernel, *bias)
            loss = jnp.where(part.weights > 0, scores.losses * part.weights, 0.0).sum()
            return Sums(sums.loss + loss, sums.right + scores.is_right @ part.weights), scores.drawn

        def skip(sums: Sums) -> tuple[Sums, Array | None]:
            return sums, nothing_drawn(part, zero)

        return jax.lax.cond((part.weights > 0).any(), count, skip, sums)

    blocks, order = split_into_blocks(options.block, hidden, targets, weights, words)
    sums, drawn = jax.lax.scan(add, Sums(zero, zero), blocks)
    return sums.loss, (sums.right, join_blocks(drawn, order, hidden.shape[0]))


def _sums_and_gradients(
    options: HeadOptions, arrays: tuple[Array, ...], constants: tuple[Array, Array | None]
) -> tuple[tuple[Array, tuple[Array, Any]], tuple[Array, ...]]:
    """The sums and the gradients with respect to `arrays`, for `with_formed_gradient`.

    The derivative with respect to the weight of a token is its loss.
    """
    hidden, kernel, weights, *bias = arrays
    targets, words = constants
    narrow = kernel.astype(hidden.dtype)
    zero, zero_part = _zeros(options, arrays, targets)

    def add(sums: Sums, part: Blocks) -> tuple[Sums, Any]:
        """Adds a block of tokens and its gradient, or skips it if it has no weight."""

        def grow(sums: Sums) -> tuple[Sums, Any]:
            return block_gradients(options, sums, part, narrow, *bias)

        def skip(sums: Sums) -> tuple[Sums, Any]:
            held = gradient_type(hidden)
            to_hidden = jnp.zeros_like(part.hidden, held) + zero_part.astype(held)
            losses = jnp.zeros_like(part.weights) + zero
            return sums, (to_hidden, losses, nothing_drawn(part, zero))

        return jax.lax.cond((part.weights > 0).any(), grow, skip, sums)

    start = Sums(zero, zero, *(jnp.zeros(a.shape, zero.dtype) + zero_part for a in (kernel, *bias)))
    blocks, order = split_into_blocks(options.block, hidden, targets, weights, words)
    sums, rows = jax.lax.scan(add, start, blocks)
    to_hidden, losses, drawn = join_blocks(rows, order, hidden.shape[0])
    if options.vocab_axis is not None:
        # All devices of this axis hold the same losses, and `sum_axis` adds up their inner products.
        losses = losses / jax.lax.axis_size(options.vocab_axis)
    formed = [gradient for gradient in sums[2:] if gradient is not None]
    to_kernel, *to_bias = (
        gradient.astype(gradient_type(array))
        for gradient, array in zip(formed, (kernel, *bias), strict=True)
    )
    return (sums.loss, (sums.right, drawn)), (to_hidden, to_kernel, losses, *to_bias)


def checked_head(
    hidden: Array,
    kernel: Array,
    targets: Array,
    weights: Array | None,
    bias: Array | None,
    block_size: int | None,
    vocab_axis_name: str | None,
) -> Array:
    """Checks the arrays of a vocabulary head, `hidden` `[..., dim]`, and returns the weights `[...]`.

    Args:
      hidden: Hidden states, `[..., dim]`.
      kernel: Output embeddings, `[vocab, dim]`.
      targets: Ids of the right tokens, `[...]`.
      weights: Weight of every token, `[...]`, a mask, or None for ones.
      bias: Number added to each logit, `[vocab]`, or None.
      block_size: Number of tokens whose logits are held at a time, or None.
      vocab_axis_name: Mapped axis over which the vocabulary is sharded, or None.

    Raises:
      ValueError: They do not fit together.
    """
    check_kernel(hidden, kernel, bias)
    rows, of = hidden.shape[:-1], f"each row of hidden {hidden.shape}"
    classes = kernel.shape[0] if vocab_axis_name is None else -1
    check_classes(targets, rows, classes, of=f"hidden states of shape {hidden.shape}")
    check_block_size(block_size, "tokens whose logits are held at a time")
    return checked_weights(weights, rows, of)


def check_kernel(hidden: Array, kernel: Array, bias: Array | None) -> None:
    """Raises ValueError unless `hidden` is `[..., dim]`, `kernel` `[vocab, dim]`, and a `bias` `[vocab]`."""
    check_floats(hidden=hidden, kernel=kernel)
    if hidden.ndim == 0 or kernel.ndim != 2 or hidden.shape[-1] != kernel.shape[1]:
        raise ValueError(
            f"hidden {hidden.shape} and kernel {kernel.shape} must be [..., dim] and [vocab, dim]; a "
            "kernel [dim, vocab] is passed as kernel.T"
        )
    if bias is None:
        return
    check_floats(bias=bias)
    if bias.shape != kernel.shape[:1]:
        raise ValueError(
            f"bias of shape {bias.shape} must be [{kernel.shape[0]}], one for each row of "
            f"kernel {kernel.shape}"
        )
