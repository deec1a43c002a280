"""Draws spans of text to hide, row by row at static shapes; the number of hidden tokens is exact.

Both functions number the text tokens of a row without its special tokens, and choose which numbers are
hidden. A special token within a span therefore splits it into two runs.

    batch    rows                       hidden   largest number of hidden tokens of a row, static
    length   tokens of a row            spans    largest number of spans of a row, static
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jaxssl.objectives.corruption.masking import masked_count
from jaxssl.objectives.corruption.positions import count_at, put_at, read_at, write_at


class Spans(NamedTuple):
    """The spans of each row, by the positions that they hide."""

    number: Int[Array, "batch length"]
    """Number of the span that hides the position, from 0 on in every row; -1 where none does."""
    empty: Int[Array, "batch length"]
    """How many spans without tokens stand directly before the position."""


def most_spans(rate: float, mean_span: float, length: int) -> int:
    """Returns the largest number of spans of a row.

    Args:
      rate: Fraction of the tokens that are hidden.
      mean_span: Mean number of tokens of a span.
      length: Tokens of a row.

    References:
      Raffel et al. 2020, "T5", section 3.1.4.
    """
    return max(1, int(masked_count(rate, length) / mean_span + 0.5))


def segmented_spans(
    key: Array, is_text: Bool[Array, "batch length"], *, rate: float, mean_span: float
) -> Spans:
    """Draws round(`rate` x text) hidden tokens in round(hidden / `mean_span`) spans, at least one of each.

    The hidden and the kept tokens are each split into as many parts as there are spans, of one token or more,
    all splits equally likely; the parts alternate, a kept one first. A row with fewer than two text tokens
    hides none.

    Args:
      key: Random key.
      is_text: Whether a position holds a text token, `[batch, length]`.
      rate: Fraction of the text tokens that are hidden.
      mean_span: Mean number of tokens of a span, at least 1.

    Returns:
      Spans, `[batch, length]`; none is empty.

    References:
      Raffel et al. 2020, "T5", section 3.1.4, and `random_spans_noise_mask` of their code.
    """
    batch, length = is_text.shape
    most = masked_count(rate, length)
    text = is_text.sum(axis=1)
    hidden = _round(rate * text).clip(1, jnp.maximum(text - 1, 1))
    hidden = jnp.where(text > 1, hidden, 0)
    spans = _round(hidden / mean_span).clip(1, jnp.minimum(hidden, text - hidden))
    hidden_key, kept_key = jax.random.split(key)
    part = _parts(hidden_key, hidden, spans, most)
    kept_part = _parts(kept_key, text - hidden, spans, length)
    is_kept = jnp.arange(length)[None] < (text - hidden)[:, None]
    # Kept tokens before each span, by its number.
    kept_before = jnp.cumsum(count_at(kept_part, most, is_kept), axis=1)
    rank = jnp.arange(most)[None] + read_at(kept_before, part)
    number = _by_position(is_text, rank, part, hidden)
    return Spans(number, jnp.zeros_like(number))


def poisson_spans(
    key: Array, is_text: Bool[Array, "batch length"], *, rate: float, mean_span: float
) -> Spans:
    """Draws round(`rate` x text) hidden tokens in spans whose lengths follow a Poisson distribution.

    Spans are drawn until they hide enough, and the last one is truncated. Lengths of 0 occur. Spans stand
    among the kept tokens in any order, all orders equally likely; two spans may touch.

    Args:
      key: Random key.
      is_text: Whether a position holds a text token, `[batch, length]`.
      rate: Fraction of the text tokens that are hidden.
      mean_span: Mean of the distribution, above 0.

    Returns:
      Spans, `[batch, length]`.

    References:
      Lewis et al. 2020, "BART", section 2.2.
    """
    batch, length = is_text.shape
    most = masked_count(rate, length)
    # So many spans are practically always enough: twice their mean number and 8.
    slots = 2 * most_spans(rate, mean_span, length) + 8
    length_key, order_key = jax.random.split(key)
    sizes = _poisson(length_key, (batch, slots), mean_span)
    ends = jnp.cumsum(sizes, axis=1)
    text = is_text.sum(axis=1)
    hidden = jnp.minimum(jnp.minimum(_round(rate * text), most), ends[:, -1])
    is_used = ends - sizes < hidden[:, None]
    ends = jnp.minimum(ends, hidden[:, None])

    # Kept tokens and spans stand in one sequence of items, of which some are chosen to be the spans.
    kept, used = text - hidden, is_used.sum(axis=1)
    is_span = choose(order_key, used, kept + used, length + slots)
    spans = jnp.cumsum(is_span, axis=1)
    item = jnp.broadcast_to(jnp.arange(length + slots)[None], is_span.shape)
    numbers = jnp.where(is_span, spans - 1, slots)
    # Kept tokens before each span, by its number.
    kept_before = put_at(numbers, slots, item, 0) - jnp.arange(slots)[None]

    # Hidden token i belongs to the first span that ends after it.
    part = jnp.cumsum(count_at(ends, most + 1, is_used), axis=1)[:, :most]
    rank = jnp.arange(most)[None] + read_at(kept_before, part)
    number = _by_position(is_text, rank, part, hidden)
    starts = kept_before + jnp.pad(ends[:, :-1], ((0, 0), (1, 0)))
    is_empty = is_used & (ends == jnp.pad(ends[:, :-1], ((0, 0), (1, 0))))
    of_rank = count_at(jnp.where(is_empty, starts, length), length, is_empty)
    empty = jnp.where(is_text, read_at(of_rank, _rank(is_text)), 0)
    return Spans(number, empty)


def choose(
    key: Array, count: Int[Array, " batch"], among: Int[Array, " batch"], size: int
) -> Bool[Array, "batch size"]:
    """Chooses exactly `count` of the first `among` positions of every row, all choices equally likely.

    Args:
      key: Random key.
      count: How many positions are chosen, `[batch]`.
      among: From how many, `[batch]`.
      size: Length of a row.

    Returns:
      Whether a position is chosen, `[batch, size]`.
    """
    position = jnp.arange(size)[None]
    priority = jax.random.uniform(key, (count.shape[0], size))
    order = jnp.argsort(jnp.where(position < among[:, None], priority, jnp.inf), axis=1)
    return write_at(jnp.zeros(priority.shape, bool), order, position < count[:, None])


def run_starts(number: Int[Array, "batch length"]) -> Bool[Array, "batch length"]:
    """Returns where a run of positions of one span begins, from `Spans.number`, `[batch, length]`."""
    before = jnp.pad(number[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    return (number >= 0) & (number != before)


def _round(x: Array) -> Int[Array, " batch"]:
    return jnp.floor(x + 0.5).astype(jnp.int32)


def _parts(
    key: Array, items: Int[Array, " batch"], parts: Int[Array, " batch"], size: int
) -> Int[Array, "batch size"]:
    """Splits the items of each row into parts at random; returns the part of every item, from 0 on."""
    is_last = choose(key, parts - 1, items - 1, size)  # of its part
    return jnp.pad(jnp.cumsum(is_last, axis=1)[:, :-1], ((0, 0), (1, 0)))


def _rank(is_text: Bool[Array, "batch length"]) -> Int[Array, "batch length"]:
    """Returns the number of a position among the text tokens of its row."""
    return jnp.maximum(jnp.cumsum(is_text, axis=1) - 1, 0)


def _by_position(
    is_text: Bool[Array, "batch length"],
    rank: Int[Array, "batch hidden"],
    part: Int[Array, "batch hidden"],
    hidden: Int[Array, " batch"],
) -> Int[Array, "batch length"]:
    """Returns the span of every position from the rank and the span of every hidden token."""
    length = is_text.shape[1]
    is_hidden = jnp.arange(rank.shape[1])[None] < hidden[:, None]
    of_rank = put_at(jnp.where(is_hidden, rank, length), length, part, -1)
    return jnp.where(is_text, read_at(of_rank, _rank(is_text)), -1)


def _poisson(key: Array, shape: tuple[int, int], mean: float) -> Int[Array, "batch spans"]:
    """Draws sizes with P(size = n) = exp(-mean) mean^n / n!, up to 10 standard deviations above the mean."""
    sizes = jnp.arange(int(mean + 10 * mean**0.5) + 2)
    chances = jnp.exp(sizes * jnp.log(mean) - mean - jax.lax.lgamma(sizes + 1.0))
    below = jnp.cumsum(chances)
    drawn = jax.random.uniform(key, shape) * below[-1]
    return jnp.searchsorted(below, drawn, side="right").astype(jnp.int32)
