"""The gradients of a block of tokens."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.blockwise.token_blocks import Blocks
from jaxssl.losses.blockwise.vocabulary_scores import HeadOptions, scores_of, whole_vocabulary

SLICE_BYTES = 1 << 25  # of the kernel's gradient, made at a time
MOST_SLICES = 8


def slice_count(size: int) -> int:
    """Where the sum of the kernel's gradient is wider than the kernel, it is an array more beside the
    result: then at least the products that are added to it come a slice at a time."""
    return min(MOST_SLICES, -(-4 * size // SLICE_BYTES))


class Sums(NamedTuple):
    loss: Float[Array, ""]
    right: Float[Array, ""]
    to_kernel: Any = None  # [vocab, dim], where a gradient is formed
    to_bias: Any = None  # [vocab], where there is a bias beside it


def block_gradients(
    options: HeadOptions, sums: Sums, part: Blocks, kernel: Array, bias: Array | None = None
) -> tuple[Sums, tuple[Array, Array, Array | None]]:
    """The sums with those of a block; its gradient by the hidden states, its losses, and what it draws.

    dz = scale pull - even, [block, vocab]: only `pull` is written, once; what a token is scaled by, and
    what is even over the vocabulary, goes to the smaller factors of the products.
    """
    scores = scores_of(options, part, kernel, bias)
    kind, narrow, smoothing = scores.rest.dtype, part.hidden.dtype, options.label_smoothing
    growth = 1 + 2 * options.z_loss * scores.log_sum
    at_target = scores.total * (growth - 1 + smoothing) - growth * scores.rest
    pull = scores.others * growth[:, None] if options.z_loss else scores.others
    pull = pull.at[jnp.arange(len(pull)), scores.places].set(
        at_target, mode="drop", indices_are_sorted=True, unique_indices=True
    )
    pull = pull.astype(narrow)  # after the change, which XLA on CPU makes in float32 alone
    scale = part.weights / scores.total
    largest = scale.max(initial=jnp.finfo(kind).tiny)  # so that half precision holds the rest
    scaled = (part.hidden * (scale / largest)[:, None]).astype(narrow)
    to_hidden = jnp.einsum("tv,vd->td", pull, kernel, preferred_element_type=kind)
    to_hidden *= scale[:, None]
    to_kernel = _add_products(sums.to_kernel, pull, scaled, largest, options.slices)
    to_bias = (
        None if bias is None else jnp.einsum("tv,t->v", pull, scale, preferred_element_type=kind)
    )
    if smoothing:
        even = part.weights * smoothing / whole_vocabulary(len(kernel), options.vocab_axis)
        to_hidden -= jnp.outer(even, kernel.sum(axis=0, dtype=kind))
        to_kernel -= (even @ part.hidden)[None]
        to_bias = None if to_bias is None else to_bias - even.sum()
    losses = jnp.where(part.weights > 0, scores.losses, 0.0)
    sums = Sums(
        sums.loss + losses @ part.weights,
        sums.right + scores.is_right @ part.weights,
        to_kernel,
        None if to_bias is None else sums.to_bias + to_bias,
    )
    return sums, (to_hidden.astype(narrow), losses, scores.drawn)


def _add_products(to_kernel: Array, pull: Array, scaled: Array, factor: Array, count: int) -> Array:
    """to_kernel + factor * pull^T scaled, in `count` slices of the vocabulary."""
    vocab = len(to_kernel)
    size = -(-vocab // count)

    def add(number: Array | int, to_kernel: Array) -> Array:
        first = number * size
        start = jnp.minimum(first, vocab - size)  # the last slice begins within the one before
        part = jax.lax.dynamic_slice_in_dim(pull, start, size, axis=1)
        grown = jnp.einsum("tv,td->vd", part, scaled, preferred_element_type=to_kernel.dtype)
        is_new = (start + jnp.arange(size) >= first)[:, None]
        so_far = jax.lax.dynamic_slice_in_dim(to_kernel, start, size)
        grown = so_far + jnp.where(is_new, grown * factor, 0)
        return jax.lax.dynamic_update_slice_in_dim(to_kernel, grown, start, axis=0)

    return add(0, to_kernel) if count == 1 else jax.lax.fori_loop(0, count, add, to_kernel)
