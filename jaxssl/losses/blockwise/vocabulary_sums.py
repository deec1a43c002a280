"""Weighted sums of the losses of a vocabulary head, with their gradient."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxssl.losses.axes import zero_of
from jaxssl.losses.blockwise.forward_gradients import with_formed_gradient
from jaxssl.losses.blockwise.token_blocks import (
    Blocks,
    cut_into_blocks,
    default_block,
    join_blocks,
)
from jaxssl.losses.blockwise.vocabulary_gradients import Sums, block_gradients, slice_count
from jaxssl.losses.blockwise.vocabulary_scores import HeadOptions, nothing_drawn, scores_of
from jaxssl.losses.precision import softmax_type


def weighted_totals(
    options: HeadOptions,
    hidden: Array,
    kernel: Array,
    targets: Array,
    weights: Array,
    bias: Array | None,
    words: Array | None = None,
) -> tuple[Array, Array, Any]:
    """Weighted sums of the losses and of what is right; where tokens have keys, what they draw."""
    _check(hidden, kernel, targets, weights, bias, options.block)
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
    """Zeros for sums over the vocabulary, which are equal along its axis, and for parts of it."""
    part = zero_of(*arrays, targets).astype(softmax_type(arrays[0]))
    return part if options.vocab_axis is None else jax.lax.psum(part, options.vocab_axis), part


def _weighted_sums(
    options: HeadOptions, arrays: tuple[Array, ...], constants: tuple[Array, Array | None]
) -> tuple[Array, tuple[Array, Any]]:
    hidden, kernel, weights, *bias = arrays
    targets, words = constants
    kernel = kernel.astype(hidden.dtype)
    zero, _ = _zeros(options, arrays, targets)

    def add(sums: Sums, part: Blocks) -> tuple[Sums, Array | None]:
        def count(sums: Sums) -> tuple[Sums, Array | None]:
            scores = scores_of(options, part, kernel, *bias)
            loss = jnp.where(part.weights > 0, scores.losses * part.weights, 0.0).sum()
            return Sums(sums.loss + loss, sums.right + scores.is_right @ part.weights), scores.drawn

        def skip(sums: Sums) -> tuple[Sums, Array | None]:
            return sums, nothing_drawn(part, zero)

        return jax.lax.cond((part.weights > 0).any(), count, skip, sums)

    blocks, order = cut_into_blocks(options.block, hidden, targets, weights, words)
    sums, drawn = jax.lax.scan(add, Sums(zero, zero), blocks)
    return sums.loss, (sums.right, join_blocks(drawn, order, hidden.shape[0]))


def _sums_and_gradients(
    options: HeadOptions, arrays: tuple[Array, ...], constants: tuple[Array, Array | None]
) -> tuple[tuple[Array, tuple[Array, Any]], tuple[Array, ...]]:
    hidden, kernel, weights, *bias = arrays
    targets, words = constants
    narrow = kernel.astype(hidden.dtype)
    zero, zero_part = _zeros(options, arrays, targets)

    def add(sums: Sums, part: Blocks) -> tuple[Sums, Any]:
        def grow(sums: Sums) -> tuple[Sums, Any]:
            return block_gradients(options, sums, part, narrow, *bias)

        def skip(sums: Sums) -> tuple[Sums, Any]:
            to_hidden = jnp.zeros_like(part.hidden) + zero_part.astype(hidden.dtype)
            losses = jnp.zeros_like(part.weights) + zero
            return sums, (to_hidden, losses, nothing_drawn(part, zero))

        return jax.lax.cond((part.weights > 0).any(), grow, skip, sums)

    start = Sums(zero, zero, *(jnp.zeros(a.shape, zero.dtype) + zero_part for a in (kernel, *bias)))
    blocks, order = cut_into_blocks(options.block, hidden, targets, weights, words)
    sums, rows = jax.lax.scan(add, start, blocks)
    to_hidden, losses, drawn = join_blocks(rows, order, hidden.shape[0])
    if (
        options.vocab_axis is not None
    ):  # the inner product is summed over it, where losses are equal
        losses = losses / jax.lax.axis_size(options.vocab_axis)
    formed = [gradient for gradient in sums[2:] if gradient is not None]
    to_kernel, *to_bias = (
        gradient.astype(array.dtype)
        for gradient, array in zip(formed, (kernel, *bias), strict=True)
    )
    return (sums.loss, (sums.right, drawn)), (to_hidden, to_kernel, losses, *to_bias)


def _check(
    hidden: Array,
    kernel: Array,
    targets: Array,
    weights: Array,
    bias: Array | None,
    block_size: int | None,
) -> None:
    if hidden.ndim != 2 or kernel.ndim != 2 or hidden.shape[1] != kernel.shape[1]:
        raise ValueError(
            f"hidden {hidden.shape} and kernel {kernel.shape} need [tokens, dim] and [vocab, dim]"
        )
    for name, array in (("targets", targets), ("weights", weights)):
        if array.shape != hidden.shape[:1]:
            raise ValueError(
                f"{name} of shape {array.shape} must be [{hidden.shape[0]}], one for each row of "
                f"hidden {hidden.shape}"
            )
    if bias is not None and bias.shape != kernel.shape[:1]:
        raise ValueError(
            f"bias of shape {bias.shape} must be [{kernel.shape[0]}], one for each row of "
            f"kernel {kernel.shape}"
        )
    if block_size is not None and block_size < 1:
        raise ValueError(f"block_size {block_size} must be at least 1 token; None chooses it")
