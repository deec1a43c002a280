"""Losses of one block of tokens, from its logits over the vocabulary, or over a device's shard of it.

    z_v = kernel_v . hidden + bias_v        logits of one token
    p   = softmax(z)                        t    the target of the token

If the vocabulary is sharded over a mapped axis, the maximum, the sum of exponentials and the
target's logit are reduced over its devices; everything else is local.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.losses.blockwise.gumbel_max import draw
from jaxssl.losses.blockwise.token_blocks import Blocks
from jaxssl.losses.precision import softmax_type


class HeadOptions(NamedTuple):
    """Options of a vocabulary head that are fixed while its program is traced."""

    block: Any
    """Number of tokens whose logits are held at a time. None chooses it (`token_blocks.default_block`)."""
    label_smoothing: float = 0.0
    """Share of the target distribution, 0 to 1, that is spread evenly over the vocabulary."""
    z_loss: float = 0.0
    """Factor of the squared logarithm of the softmax normaliser. 0 leaves the term out."""
    vocab_axis: str | None = None
    """Mapped axis over which the vocabulary is sharded. None if each device has the whole."""
    temperature: float = 1.0
    """Positive number that divides the logits when a token is drawn."""
    disallow_correct: bool = False
    """Whether the target is excluded when a token is drawn."""
    slices: int = 1
    """Number of slices of the vocabulary in which products are added to the kernel's gradient."""


class Scores(NamedTuple):
    """What the loss of every token of a block, and its gradient, are computed from.

    The exponentials are kept without being divided by their sum:

        p_v = others_v / total for v != t,     p_t = exp(z_t - top) / total,     p_t - 1 = -rest / total

    with `top` the largest logit of the token. The last form has no cancellation where p_t is close
    to 1.
    """

    others: Float[Array, "block vocab"]
    """exp(z_v - top), and 0 at the target."""
    rest: Float[Array, " block"]
    """Sum of `others` over the whole vocabulary."""
    total: Float[Array, " block"]
    """Sum of exp(z_v - top) over the whole vocabulary, the target included."""
    log_sum: Float[Array, " block"]
    """log sum_v exp(z_v)."""
    losses: Float[Array, " block"]
    """Loss of every token, in nats."""
    is_right: Float[Array, " block"]
    """1 where no logit is above the target's, else 0."""
    positions: Int[Array, " block"]
    """Row of the target in this device's shard of the kernel; `vocab` if the target is in another shard."""
    drawn: Int[Array, " block"] | None
    """Drawn tokens, or None if none are drawn."""


def scores_of(
    options: HeadOptions, part: Blocks, kernel: Array, bias: Array | None = None
) -> Scores:
    """Computes the logits of a block of tokens and what follows from them.

    Args:
      options: Options of the head.
      part: One block of tokens.
      kernel: Output embeddings, `[vocab, dim]`, or this device's shard of them.
      bias: Number added to each logit, `[vocab]`, or None.

    Returns:
      The scores. A target outside the whole vocabulary has the loss NaN.
    """
    axis, (vocab, _) = options.vocab_axis, kernel.shape
    kind = softmax_type(part.hidden)
    logits = jnp.einsum("td,vd->tv", part.hidden, kernel, preferred_element_type=kind)
    if bias is not None:
        logits += bias[None].astype(kind)
    top = _over(jax.lax.pmax, axis, jax.lax.stop_gradient(logits).max(axis=1))
    positions = part.targets if axis is None else part.targets - jax.lax.axis_index(axis) * vocab
    is_here = (positions >= 0) & (positions < vocab)
    inside = jnp.where(is_here, positions, 0)
    target = jnp.take_along_axis(logits, inside[:, None], axis=1)[:, 0]
    is_target = jnp.arange(vocab)[None] == positions[:, None]
    others = jnp.where(is_target, 0.0, jnp.exp(logits - top[:, None]))
    smoothing = options.label_smoothing
    sums = [jnp.where(is_here, target, 0.0), others.sum(axis=1)]
    sums += [logits.sum(axis=1)] if smoothing else []
    target, rest, *logit_sum = _over(jax.lax.psum, axis, sums)
    is_valid = (part.targets >= 0) & (part.targets < whole_vocabulary(vocab, axis))
    target = jnp.where(is_valid, target, jnp.nan)
    total = rest + jnp.exp(target - top)
    log_sum = top + jnp.log(total)
    losses = log_sum - target
    if smoothing:
        uniform = log_sum - logit_sum[0] / whole_vocabulary(vocab, axis)
        losses = (1 - smoothing) * losses + smoothing * uniform
    if options.z_loss:
        losses += options.z_loss * jnp.square(log_sum)
    is_right = (target >= top).astype(kind)
    positions = jnp.where(is_here, positions, vocab)
    drawn = _drawn(options, part, logits)
    return Scores(others, rest, total, log_sum, losses, is_right, positions, drawn)


def _drawn(options: HeadOptions, part: Blocks, logits: Array) -> Array | None:
    """A token drawn from the logits of every token with a weight; None where there are no keys."""
    if part.words is None:
        return None
    drawn = draw(
        part.words,
        logits,
        temperature=options.temperature,
        never=part.targets if options.disallow_correct else None,
        vocab_axis_name=options.vocab_axis,
    )
    return jnp.where(part.weights > 0, drawn, 0)


def nothing_drawn(part: Blocks, zero: Array) -> Array | None:
    """Returns what a skipped block of tokens, `part`, draws: zeros `[block]`, or None without keys.

    Args:
      part: One block of tokens.
      zero: A zero that varies over the mesh axes over which the drawn tokens vary, a scalar.

    Returns:
      Zeros, int `[block]`, or None.
    """
    return None if part.words is None else jnp.zeros_like(part.targets) + zero.astype(int)


def _over(reduce: Any, axis: str | None, values: Any) -> Any:
    """Reduces values over the vocabulary's mapped axis, if there is one."""
    return values if axis is None else reduce(values, axis)


def whole_vocabulary(vocab: int, axis: str | None) -> int:
    """Returns the size of the whole vocabulary, where each device of `axis` has `vocab` rows."""
    return vocab if axis is None else vocab * jax.lax.axis_size(axis)
