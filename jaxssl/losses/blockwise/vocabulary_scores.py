"""Losses of a block of tokens from the logits of a vocabulary head."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.losses.blockwise.gumbel_max import draw
from jaxssl.losses.blockwise.token_blocks import Blocks
from jaxssl.losses.precision import softmax_type


class HeadOptions(NamedTuple):
    block: Any  # tokens whose logits exist at a time; None: `default_block`
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    vocab_axis: str | None = None
    temperature: float = 1.0  # of what is drawn
    disallow_correct: bool = False  # never draw the target
    slices: int = 1  # of the vocabulary, whose products are added one after another


class Scores(NamedTuple):
    """Of every token of a block; its logits less their maximum, and exponentiated: softmax is

    p_target = exp(z_target - top) / total,   p_v = others_v / total elsewhere,   p_target - 1 = -rest / total
    """

    others: Float[Array, "block vocab"]  # exp(z - top), and 0 at the target
    rest: Float[Array, " block"]  # the sum of `others` over the whole vocabulary
    total: Float[Array, " block"]  # sum_v exp(z_v - top)
    log_sum: Float[Array, " block"]
    losses: Float[Array, " block"]
    is_right: Float[Array, " block"]
    places: Int[
        Array, " block"
    ]  # of the target in this part of the vocabulary; beyond it: elsewhere
    drawn: Int[Array, " block"] | None


def scores_of(
    options: HeadOptions, part: Blocks, kernel: Array, bias: Array | None = None
) -> Scores:
    axis, (vocab, _) = options.vocab_axis, kernel.shape
    kind = softmax_type(part.hidden)
    logits = jnp.einsum("td,vd->tv", part.hidden, kernel, preferred_element_type=kind)
    if bias is not None:
        logits += bias[None].astype(kind)
    top = _over(jax.lax.pmax, axis, jax.lax.stop_gradient(logits).max(axis=1))
    places = part.targets if axis is None else part.targets - jax.lax.axis_index(axis) * vocab
    is_here = (places >= 0) & (places < vocab)
    inside = jnp.where(is_here, places, 0)
    target = jnp.take_along_axis(logits, inside[:, None], axis=1)[:, 0]
    is_target = jnp.arange(vocab)[None] == places[:, None]
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
    places = jnp.where(is_here, places, vocab)
    drawn = _drawn(options, part, logits)
    return Scores(others, rest, total, log_sum, losses, is_right, places, drawn)


def _drawn(options: HeadOptions, part: Blocks, logits: Array) -> Array | None:
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
    return None if part.words is None else jnp.zeros_like(part.targets) + zero.astype(int)


def _over(reduce: Any, axis: str | None, values: Any) -> Any:
    return values if axis is None else reduce(values, axis)


def whole_vocabulary(vocab: int, axis: str | None) -> int:
    return vocab if axis is None else vocab * jax.lax.axis_size(axis)
