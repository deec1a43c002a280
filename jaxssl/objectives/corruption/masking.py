"""Which tokens are hidden, and what stands in their place. Pure functions on the device.

    candidates   tokens that may be hidden: all but the special ones
    order        places of a row, those to hide first
Every choice has static shape: `masked` places a row, of which `real` are meant.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jaxssl.errors import InputError
from jaxssl.objectives.batches.batch import Vocabulary
from jaxssl.objectives.corruption.positions import count_at, least_at, read_at, write_at

Masking = Literal["tokens", "words", "spans"]
FITTING_PASSES = 4  # whole words: after an overflow, smaller words are tried this often


class Hidden(NamedTuple):
    """The places of every row that are predicted; `real` is false where a row has fewer."""

    positions: Int[Array, "batch masked"]
    real: Bool[Array, "batch masked"]


def masked_places(rate: float, length: int) -> int:
    """The most tokens that a row of this length can have hidden: the static size of the choice."""
    return max(1, int(rate * length + 0.5))


def check_masking(rate: float, shares: tuple[float, float, float], masking: str) -> None:
    """Raises InputError for fields that no corruption can have."""
    if not 0 < rate < 1:
        raise InputError(f"rate={rate} must lie between 0 and 1, e.g. 0.15")
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"shares={shares} must be non-negative and add up to 1")
    if masking not in get_args(Masking):
        raise InputError(f"masking={masking!r} is unknown; use tokens, words or spans")


def choose_tokens(
    key: Array,
    tokens: Int[Array, "batch length"],
    vocabulary: Vocabulary,
    *,
    rate: float,
    masking: Masking = "tokens",
    span_stop: float = 0.2,
    span_limit: int = 10,
) -> Hidden:
    """Chooses round(rate x candidates) places in every row, at least one where there is a candidate.

    tokens: uniformly (Devlin et al. 2019, section 3.1). The count is exact.
    words: all tokens of a word or none (BERT's later release). The count is met exactly where words
        that fit are left, and is never exceeded.
    spans: runs of whole words, their number geometric with `span_stop` and at most `span_limit`
        (Joshi et al. 2020, SpanBERT, section 3.1: 0.2 and 10, 3.8 words on average). The count is
        exact: the last span may be cut.
    """
    candidates = ~vocabulary.special[tokens]
    available = candidates.sum(axis=1)
    count = jnp.floor(rate * available + 0.5).astype(jnp.int32)
    count = jnp.where(available > 0, jnp.maximum(count, 1), 0)
    places = masked_places(rate, tokens.shape[1])
    if masking == "words":
        chosen = _fitting_words(
            key, _word_numbers(tokens, candidates, vocabulary), candidates, count
        )
        order, count = jnp.argsort(~chosen, axis=1, stable=True), chosen.sum(axis=1)
    else:
        token_key, span_key = jax.random.split(key)
        priority = jax.random.uniform(token_key, tokens.shape)
        if masking == "spans":
            words = _word_numbers(tokens, candidates, vocabulary)
            rank = _span_rank(span_key, words, candidates, places, span_stop, span_limit)
            # Inside a span in order; what no span covers comes last, at random.
            priority = jnp.where(rank < places, rank.astype(jnp.float32), places + priority)
        order = jnp.argsort(jnp.where(candidates, priority, jnp.inf), axis=1, stable=True)
    return Hidden(order[:, :places], jnp.arange(places)[None] < count[:, None])


def replace_tokens(
    key: Array,
    tokens: Int[Array, "batch length"],
    hidden: Hidden,
    vocabulary: Vocabulary,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> Int[Array, "batch length"]:
    """Hides the chosen tokens: with these shares by the mask, by a random ordinary token, by itself."""
    how_key, random_key = jax.random.split(key)
    shape = hidden.positions.shape
    how = jax.random.uniform(how_key, shape)
    drawn = vocabulary.ordinary[jax.random.randint(random_key, shape, 0, vocabulary.ordinary.size)]
    kept = read_at(tokens, hidden.positions)
    masked_share, random_share, _ = shares
    inputs = jnp.where(how < masked_share + random_share, drawn, kept)
    inputs = jnp.where(how < masked_share, vocabulary.mask, inputs)
    inputs = jnp.where(hidden.real, inputs, kept)
    return write_at(tokens, hidden.positions, inputs)


def _word_numbers(
    tokens: Int[Array, "batch length"],
    candidates: Bool[Array, "batch length"],
    vocabulary: Vocabulary,
) -> Int[Array, "batch length"]:
    """Numbers the words of a row from 0. A special token ends a word, so none crosses a document."""
    after_special = jnp.pad(~candidates[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    starts = candidates & (vocabulary.starts_word[tokens] | after_special)
    return jnp.maximum(jnp.cumsum(starts, axis=1) - 1, 0)


def _fitting_words(
    key: Array,
    words: Int[Array, "batch length"],
    candidates: Bool[Array, "batch length"],
    count: Int[Array, " batch"],
) -> Bool[Array, "batch length"]:
    """Takes words in random order as long as they fit into `count`, smaller ones after an overflow."""
    sizes = count_at(words, words.shape[1], candidates)
    order = jnp.argsort(jax.random.uniform(key, words.shape), axis=1)
    shuffled = read_at(sizes, order)
    taken = jnp.zeros(words.shape, bool)
    left = count[:, None]
    for _ in range(FITTING_PASSES):
        is_open = ~taken & (shuffled > 0) & (shuffled <= left)
        filled = jnp.cumsum(jnp.where(is_open, shuffled, 0), axis=1)
        taken |= is_open & (filled <= left)
        left = count[:, None] - jnp.where(taken, shuffled, 0).sum(axis=1, keepdims=True)
    word_taken = write_at(jnp.zeros(words.shape, bool), order, taken)
    return read_at(word_taken, words) & candidates


def _span_rank(
    key: Array,
    words: Int[Array, "batch length"],
    candidates: Bool[Array, "batch length"],
    spans: int,
    stop: float,
    limit: int,
) -> Int[Array, "batch length"]:
    """For every token the number of the first drawn span that covers it; `spans` where none does.

    A span starts at a word and ends with its document at the latest.
    """
    start_key, size_key = jax.random.split(key)
    batch, length = words.shape
    last_word = jnp.max(jnp.where(candidates, words, 0), axis=1, keepdims=True)
    starts = jnp.floor(jax.random.uniform(start_key, (batch, spans)) * (last_word + 1))
    starts = starts.astype(words.dtype)[:, :, None]
    sizes = _span_sizes(size_key, (batch, spans), stop, limit)[:, :, None]
    places = jnp.where(candidates, jnp.arange(length)[None], length - 1)
    first_place = least_at(words, length, places, length - 1)
    documents = jnp.cumsum(~candidates, axis=1)  # grows at every special token
    start_places = read_at(first_place, starts[:, :, 0])
    start_documents = read_at(documents, start_places)[:, :, None]
    word = words[:, None, :]
    covers = (word >= starts) & (word < starts + sizes) & candidates[:, None, :]
    covers &= documents[:, None, :] == start_documents
    numbers = jnp.arange(spans, dtype=words.dtype)[None, :, None]
    return jnp.where(covers, numbers, spans).min(axis=1)


def _span_sizes(key: Array, shape: tuple[int, int], stop: float, limit: int) -> Int[Array, "b s"]:
    """P(size = n) proportional to stop (1 - stop)^(n - 1) for n = 1 .. limit."""
    sizes = jnp.arange(1, limit + 1)
    below = jnp.cumsum(stop * (1.0 - stop) ** (sizes - 1.0))
    drawn = jax.random.uniform(key, shape) * below[-1]
    return jnp.searchsorted(below, drawn, side="right").astype(jnp.int32) + 1
