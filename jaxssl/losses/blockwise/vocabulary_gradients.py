"""The gradient of one block of tokens with respect to hidden states, kernel and bias.

With p the softmax of a token's logits, t its target, w its weight, s the label smoothing and k the
factor of the z-loss, the derivative with respect to its logits is

    dz_v = w (p_v (1 + 2 k log_sum) - (1 - s) [v = t] - s / vocab)

and the gradients are matrix products with it:

    d hidden = dz @ kernel        d kernel = dz^T @ hidden        d bias = sum over tokens of dz

The softmax is not normalised before the products. With `total` the sum of the exponentials of a
token, dz is split into

    dz_v = scale * unscaled_v - even        scale = w / total        even = w s / vocab

where `unscaled`, `[block, vocab]`, are the exponentials themselves, with another number at the
target. Each token's scale multiplies its row of `hidden` and its row of the gradient with respect
to `hidden`, `[block, dim]`, and `even` is the same for the whole vocabulary, so it multiplies sums.
Only one array `[block, vocab]` is written, and it is written once. In float16 it is also multiplied
by `HALF_RANGE / total` while it is cast: its entry at the target may be as large as the vocabulary,
and float16 ends at 65504.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.blockwise.token_blocks import Blocks
from jaxssl.losses.blockwise.vocabulary_scores import HeadOptions, scores_of, whole_vocabulary
from jaxssl.losses.precision import gradient_type

SLICE_BYTES = 1 << 25  # bytes of the kernel's gradient whose products are computed at a time
MOST_SLICES = 8
HALF_RANGE = 2.0**13  # what a probability of 1 becomes in float16: an eighth of its largest number


def slice_count(size: int) -> int:
    """Returns in how many slices of the vocabulary a kernel's gradient of `size` numbers is added up.

    For a kernel in half precision the float32 sum of its gradient is one more large array beside
    the result. To keep at least the temporary product of each block small, it is computed a slice
    of about 32 MB at a time.
    """
    return min(MOST_SLICES, -(-4 * size // SLICE_BYTES))


class Sums(NamedTuple):
    """Sums over the blocks of tokens."""

    loss: Float[Array, ""]
    """Weighted sum of the losses."""
    right: Float[Array, ""]
    """Weighted sum of the tokens that are predicted right."""
    to_kernel: Any = None
    """Gradient with respect to the kernel, `[vocab, dim]`, where one is formed; else None."""
    to_bias: Any = None
    """Gradient with respect to the bias, `[vocab]`, where one is formed; None without a bias."""


def block_gradients(
    options: HeadOptions, sums: Sums, part: Blocks, kernel: Array, bias: Array | None = None
) -> tuple[Sums, tuple[Array, Array, Array | None]]:
    """Computes the gradient of one block and adds it to the sums.

    Args:
      options: Options of the head.
      sums: Sums over the blocks before.
      part: One block of tokens.
      kernel: Output embeddings, `[vocab, dim]`, in the type of the hidden states.
      bias: Number added to each logit, `[vocab]`, or None.

    Returns:
      The sums with this block added; and of every token of the block the gradient with respect to
      its hidden state, `[block, dim]`, its loss, `[block]`, and the token that it draws, `[block]`
      or None.
    """
    scores = scores_of(options, part, kernel, bias)
    kind, narrow, smoothing = scores.rest.dtype, part.hidden.dtype, options.label_smoothing
    growth = 1 + 2 * options.z_loss * scores.log_sum
    at_target = scores.total * (growth - 1 + smoothing) - growth * scores.rest
    unscaled = scores.others * growth[:, None] if options.z_loss else scores.others
    scale = part.weights / scores.total
    if narrow == kind:
        unscaled = unscaled.at[jnp.arange(len(unscaled)), scores.positions].set(
            at_target, mode="drop", indices_are_sorted=True, unique_indices=True
        )
    else:
        if narrow == jnp.float16:
            fitting = HALF_RANGE / (scores.total * jnp.maximum(1.0, growth))
            unscaled, at_target = unscaled * fitting[:, None], at_target * fitting
            scale = scale / fitting
        # Behind a barrier the exponentials are summed and cast in one pass, and not computed again in both
        # products; those set the entry at the target while they read.
        unscaled = jax.lax.optimization_barrier(unscaled.astype(narrow))
        is_target = jnp.arange(len(kernel))[None] == scores.positions[:, None]
        unscaled = jnp.where(is_target, at_target[:, None].astype(narrow), unscaled)
    # Relative to the largest scale, so that the factors do not underflow in half precision.
    largest = scale.max(initial=jnp.finfo(kind).tiny)
    scaled = (part.hidden * (scale / largest)[:, None]).astype(narrow)
    to_hidden = jnp.einsum("tv,vd->td", unscaled, kernel, preferred_element_type=kind)
    to_hidden *= scale[:, None]
    to_kernel = _add_products(sums.to_kernel, unscaled, scaled, largest, options.slices)
    to_bias = (
        None
        if bias is None
        else jnp.einsum("tv,t->v", unscaled, scale, preferred_element_type=kind)
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
    return sums, (to_hidden.astype(gradient_type(part.hidden)), losses, scores.drawn)


def _add_products(
    to_kernel: Array, unscaled: Array, scaled: Array, factor: Array, count: int
) -> Array:
    """to_kernel + factor * unscaled^T @ scaled, computed in `count` slices of the vocabulary."""
    vocab = len(to_kernel)
    size = -(-vocab // count)

    def add(number: Array | int, to_kernel: Array) -> Array:
        first = number * size
        # The last slice has the size of the others and so overlaps the one before; only what is
        # new in it is added.
        start = jnp.minimum(first, vocab - size)
        part = jax.lax.dynamic_slice_in_dim(unscaled, start, size, axis=1)
        product = jnp.einsum("tv,td->vd", part, scaled, preferred_element_type=to_kernel.dtype)
        is_new = (start + jnp.arange(size) >= first)[:, None]
        so_far = jax.lax.dynamic_slice_in_dim(to_kernel, start, size)
        product = so_far + jnp.where(is_new, product * factor, 0)
        return jax.lax.dynamic_update_slice_in_dim(to_kernel, product, start, axis=0)

    return add(0, to_kernel) if count == 1 else jax.lax.fori_loop(0, count, add, to_kernel)
