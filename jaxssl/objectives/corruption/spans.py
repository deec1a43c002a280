"""Spans of text to hide, drawn row by row at static shapes; the number of hidden tokens is exact.

Both ways number the text of a row without its special tokens, and decide which numbers are hidden. A
span may so be cut in two by a special token, and is then two runs.

    batch    rows                       hidden   most tokens that a row can have hidden, static
    length   tokens of a row            spans    most spans that a row can have, static
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jaxssl.objectives.corruption.masking import masked_places
from jaxssl.objectives.corruption.positions import count_at, put_at, read_at, write_at


class Spans(NamedTuple):
    """The span that hides a place, and spans of no length."""

    number: Int[Array, "batch length"]  # from 0 on in every row; -1: the place is not hidden
    empty: Int[Array, "batch length"]  # spans of no length that stand before the place


def most_spans(rate: float, mean_span: float, length: int) -> int:
    """Spans of a row in which a share `rate` of `length` tokens is hidden (Raffel et al. 2020)."""
    return max(1, int(masked_places(rate, length) / mean_span + 0.5))


def segmented_spans(
    key: Array, is_text: Bool[Array, "batch length"], *, rate: float, mean_span: float
) -> Spans:
    """round(rate x text) hidden tokens in round(hidden / mean_span) spans, at least one of each.

    Hidden and kept tokens are each cut into as many parts of one token or more, at random and all
    cuts alike likely; parts of both alternate, a kept one first (Raffel et al. 2020, section 3.1.4,
    and `random_spans_noise_mask` of their code). A row with less than two tokens hides none.
    """
    batch, length = is_text.shape
    most = masked_places(rate, length)
    text = is_text.sum(axis=1)
    hidden = _round(rate * text).clip(1, jnp.maximum(text - 1, 1))
    hidden = jnp.where(text > 1, hidden, 0)
    spans = _round(hidden / mean_span).clip(1, jnp.minimum(hidden, text - hidden))
    hidden_key, kept_key = jax.random.split(key)
    part = _parts(hidden_key, hidden, spans, most)
    kept_part = _parts(kept_key, text - hidden, spans, length)
    is_kept = jnp.arange(length)[None] < (text - hidden)[:, None]
    kept_before = jnp.cumsum(
        count_at(kept_part, most, is_kept), axis=1
    )  # up to a span, by its number
    rank = jnp.arange(most)[None] + read_at(kept_before, part)
    number = _by_place(is_text, rank, part, hidden)
    return Spans(number, jnp.zeros_like(number))


def poisson_spans(
    key: Array, is_text: Bool[Array, "batch length"], *, rate: float, mean_span: float
) -> Spans:
    """round(rate x text) hidden tokens in spans whose lengths are Poisson, zero among them.

    Spans are drawn until they hide enough, and the last is cut to hide no more. They stand among the
    kept tokens in any order, all alike likely; two may touch (Lewis et al. 2020, section 2.2).
    """
    batch, length = is_text.shape
    most = masked_places(rate, length)
    slots = (
        2 * most_spans(rate, mean_span, length) + 8
    )  # more than are ever drawn, but by a miracle
    length_key, place_key = jax.random.split(key)
    sizes = _poisson(length_key, (batch, slots), mean_span)
    ends = jnp.cumsum(sizes, axis=1)
    text = is_text.sum(axis=1)
    hidden = jnp.minimum(jnp.minimum(_round(rate * text), most), ends[:, -1])
    is_used = ends - sizes < hidden[:, None]
    ends = jnp.minimum(ends, hidden[:, None])

    # Kept tokens and spans in a line: which items of it are spans?
    kept, used = text - hidden, is_used.sum(axis=1)
    is_span = choose(place_key, used, kept + used, length + slots)
    spans = jnp.cumsum(is_span, axis=1)
    item = jnp.broadcast_to(jnp.arange(length + slots)[None], is_span.shape)
    places = jnp.where(is_span, spans - 1, slots)
    kept_before = put_at(places, slots, item, 0) - jnp.arange(slots)[None]  # a span, by its number

    # The span of hidden token i is the first that ends behind it.
    part = jnp.cumsum(count_at(ends, most + 1, is_used), axis=1)[:, :most]
    rank = jnp.arange(most)[None] + read_at(kept_before, part)
    number = _by_place(is_text, rank, part, hidden)
    starts = kept_before + jnp.pad(ends[:, :-1], ((0, 0), (1, 0)))
    is_empty = is_used & (ends == jnp.pad(ends[:, :-1], ((0, 0), (1, 0))))
    of_rank = count_at(jnp.where(is_empty, starts, length), length, is_empty)
    empty = jnp.where(is_text, read_at(of_rank, _rank(is_text)), 0)
    return Spans(number, empty)


def choose(
    key: Array, count: Int[Array, " batch"], among: Int[Array, " batch"], size: int
) -> Bool[Array, "batch size"]:
    """Exactly `count` of the first `among` places of every row, all choices alike likely."""
    place = jnp.arange(size)[None]
    priority = jax.random.uniform(key, (count.shape[0], size))
    order = jnp.argsort(jnp.where(place < among[:, None], priority, jnp.inf), axis=1)
    return write_at(jnp.zeros(priority.shape, bool), order, place < count[:, None])


def run_starts(number: Int[Array, "batch length"]) -> Bool[Array, "batch length"]:
    """Where a run of places of one span begins."""
    before = jnp.pad(number[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    return (number >= 0) & (number != before)


def _round(x: Array) -> Int[Array, " batch"]:
    return jnp.floor(x + 0.5).astype(jnp.int32)


def _parts(
    key: Array, items: Int[Array, " batch"], parts: Int[Array, " batch"], size: int
) -> Int[Array, "batch size"]:
    """The part of every item, from 0 on, where a row of items is cut into parts at random."""
    cuts = choose(key, parts - 1, items - 1, size)  # behind an item
    return jnp.pad(jnp.cumsum(cuts, axis=1)[:, :-1], ((0, 0), (1, 0)))


def _rank(is_text: Bool[Array, "batch length"]) -> Int[Array, "batch length"]:
    """The number of a place among those of the text."""
    return jnp.maximum(jnp.cumsum(is_text, axis=1) - 1, 0)


def _by_place(
    is_text: Bool[Array, "batch length"],
    rank: Int[Array, "batch hidden"],
    part: Int[Array, "batch hidden"],
    hidden: Int[Array, " batch"],
) -> Int[Array, "batch length"]:
    """The span of every place, from rank and span of every hidden token."""
    length = is_text.shape[1]
    is_hidden = jnp.arange(rank.shape[1])[None] < hidden[:, None]
    of_rank = put_at(jnp.where(is_hidden, rank, length), length, part, -1)
    return jnp.where(is_text, read_at(of_rank, _rank(is_text)), -1)


def _poisson(key: Array, shape: tuple[int, int], mean: float) -> Int[Array, "batch spans"]:
    """By its distribution function: P(size = n) = exp(-mean) mean^n / n!, up to 10 deviations."""
    sizes = jnp.arange(int(mean + 10 * mean**0.5) + 2)
    chances = jnp.exp(sizes * jnp.log(mean) - mean - jax.lax.lgamma(sizes + 1.0))
    below = jnp.cumsum(chances)
    drawn = jax.random.uniform(key, shape) * below[-1]
    return jnp.searchsorted(below, drawn, side="right").astype(jnp.int32)
