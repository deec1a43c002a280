"""Chooses which tokens of a row are hidden and predicted, and replaces them.

The number of hidden tokens differs from row to row, but shapes are static: each choice has `masked`
positions a row, of which those count where `real` is true.

    batch    rows              masked       largest number of hidden tokens of a row, static
    length   tokens of a row   candidates   tokens that may be hidden: all but the special ones
"""

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jaxssl.errors import InputError, check_choice, check_share
from jaxssl.objectives.batches.batch import Vocabulary
from jaxssl.objectives.corruption.positions import count_at, least_at, read_at, write_at

Masking = Literal["tokens", "words", "spans"]
LONGEST_WORD = 10  # tokens; text that is written without spaces has longer ones, which are no words
FITTING_PASSES = 4  # how often whole words that still fit are looked for


class Hidden(NamedTuple):
    """The positions that are hidden and predicted."""

    positions: Int[Array, "batch masked"]
    """Different positions of each row."""
    real: Bool[Array, "batch masked"]
    """Whether a position is hidden; false for those that fill up a row with fewer hidden tokens."""


def masked_count(rate: float, length: int) -> int:
    """Returns the largest number of hidden tokens of a row of `length` tokens at this `rate`, at least 1."""
    return max(1, int(rate * length + 0.5))


def check_masking(objective: Any) -> None:
    """Raises `InputError` where the field `rate`, `shares` or `masking` of `objective` is not possible."""
    check_share(objective, "rate", zero=False)
    check_choice(objective, "masking", get_args(Masking))
    shares = objective.shares
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"shares={shares} must not be negative, and must add up to 1")


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
    """Chooses round(`rate` x candidates) positions in every row, at least one where there is a candidate.

    With `masking`

        tokens   single tokens, all equally likely (Devlin et al. 2019, section 3.1). The number is exact.
        words    all tokens of a word or none (BERT's later release). The number is exact where words that fit
                 are left, and is never exceeded. Words of more than 10 tokens, as in text that is written
                 without spaces, and words that are longer than the number are taken token by token.
        spans    runs of whole words. The number of words is geometric with `span_stop` and at most
                 `span_limit` (Joshi et al. 2020, SpanBERT, section 3.1: 0.2 and 10, 3.8 words on average).
                 The number of tokens is exact: the last span may be truncated. In words of more than 10
                 tokens, each token counts as a word.

    Args:
      key: Random key.
      tokens: Ids, `[batch, length]`.
      vocabulary: Which tokens are special, and which begin a word.
      rate: Fraction of the candidates that are chosen, between 0 and 1.
      masking: "tokens", "words" or "spans".
      span_stop: Probability that a span ends after a word.
      span_limit: Largest number of words of a span.

    Returns:
      The chosen positions, `[batch, masked]` with `masked = masked_count(rate, length)`.
    """
    candidates = ~vocabulary.special[tokens]
    available = candidates.sum(axis=1)
    count = jnp.floor(rate * available + 0.5).astype(jnp.int32)
    count = jnp.where(available > 0, jnp.maximum(count, 1), 0)
    most = masked_count(rate, tokens.shape[1])
    if masking == "words":
        longest = jnp.minimum(count, LONGEST_WORD)
        words = _word_numbers(tokens, candidates, vocabulary, longest)
        chosen = _fitting_words(key, words, candidates, count)
        order, count = jnp.argsort(~chosen, axis=1, stable=True), chosen.sum(axis=1)
    else:
        token_key, span_key = jax.random.split(key)
        priority = jax.random.uniform(token_key, tokens.shape)
        if masking == "spans":
            longest = jnp.full_like(count, LONGEST_WORD)
            words = _word_numbers(tokens, candidates, vocabulary, longest)
            rank = _span_rank(span_key, words, candidates, most, span_stop, span_limit)
            # Tokens of a span stay in order; tokens that no span covers come last, in random order.
            priority = jnp.where(rank < most, rank.astype(jnp.float32), most + priority)
        order = jnp.argsort(jnp.where(candidates, priority, jnp.inf), axis=1, stable=True)
    return Hidden(order[:, :most], jnp.arange(most)[None] < count[:, None])


def replace_tokens(
    key: Array,
    tokens: Int[Array, "batch length"],
    hidden: Hidden,
    vocabulary: Vocabulary,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    *,
    masking: Masking = "tokens",
) -> Int[Array, "batch length"]:
    """Replaces the chosen tokens by the mask token, by a random ordinary token, or leaves them unchanged.

    Which of the three is drawn for each token; with `masking="spans"` once for each run of adjacent chosen
    tokens, so that a span is hidden, replaced or kept as a whole. Its random tokens differ.

    Args:
      key: Random key.
      tokens: Ids, `[batch, length]`.
      hidden: The chosen positions, `[batch, masked]`.
      vocabulary: The mask token and the ordinary tokens.
      shares: Probabilities of the three ways, in this order.
      masking: How the tokens were chosen.

    Returns:
      Corrupted rows, `[batch, length]`.

    References:
      Devlin et al. 2019, "BERT", section 3.1. Joshi et al. 2020, "SpanBERT", section 3.1 (spans).
    """
    how_key, random_key = jax.random.split(key)
    shape = hidden.positions.shape
    how = jax.random.uniform(how_key, shape)
    if masking == "spans":
        each = jax.random.uniform(how_key, tokens.shape)
        how = read_at(each, read_at(_run_starts(tokens.shape, hidden), hidden.positions))
    drawn = vocabulary.ordinary[jax.random.randint(random_key, shape, 0, vocabulary.ordinary.size)]
    kept = read_at(tokens, hidden.positions)
    masked_share, random_share, _ = shares
    inputs = jnp.where(how < masked_share + random_share, drawn, kept)
    inputs = jnp.where(how < masked_share, vocabulary.mask, inputs)
    inputs = jnp.where(hidden.real, inputs, kept)
    return write_at(tokens, hidden.positions, inputs)


def _run_starts(shape: tuple[int, ...], hidden: Hidden) -> Int[Array, "batch length"]:
    """Returns at every chosen position where its run of adjacent chosen positions begins."""
    chosen = write_at(jnp.zeros(shape, bool), hidden.positions, hidden.real)
    begins = chosen & ~jnp.pad(chosen[:, :-1], ((0, 0), (1, 0)))
    return jax.lax.cummax(jnp.where(begins, jnp.arange(shape[1])[None], 0), axis=1)


def _word_numbers(
    tokens: Int[Array, "batch length"],
    candidates: Bool[Array, "batch length"],
    vocabulary: Vocabulary,
    longest: Int[Array, " batch"],
) -> Int[Array, "batch length"]:
    """Numbers the words of a row from 0. A special token ends a word, so no word crosses documents.

    Each token of a word of more than `longest` tokens is a word of its own.
    """
    after_special = jnp.pad(~candidates[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    starts = candidates & (vocabulary.starts_word[tokens] | after_special)
    words = jnp.maximum(jnp.cumsum(starts, axis=1) - 1, 0)
    sizes = read_at(count_at(words, words.shape[1], candidates), words)
    starts |= candidates & (sizes > longest[:, None])
    return jnp.maximum(jnp.cumsum(starts, axis=1) - 1, 0)


def _fitting_words(
    key: Array,
    words: Int[Array, "batch length"],
    candidates: Bool[Array, "batch length"],
    count: Int[Array, " batch"],
) -> Bool[Array, "batch length"]:
    """Takes words in random order as long as they fit into `count`; then smaller words that still fit."""
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
    """Returns for every token the number of the first drawn span that covers it, or `spans` for none.

    A span starts at a word and ends with its document at the latest.
    """
    start_key, size_key = jax.random.split(key)
    batch, length = words.shape
    last_word = jnp.max(jnp.where(candidates, words, 0), axis=1, keepdims=True)
    starts = jnp.floor(jax.random.uniform(start_key, (batch, spans)) * (last_word + 1))
    starts = starts.astype(words.dtype)[:, :, None]
    sizes = _span_sizes(size_key, (batch, spans), stop, limit)[:, :, None]
    positions = jnp.where(candidates, jnp.arange(length)[None], length - 1)
    first_positions = least_at(words, length, positions, length - 1)
    documents = jnp.cumsum(~candidates, axis=1)  # grows at every special token
    start_positions = read_at(first_positions, starts[:, :, 0])
    start_documents = read_at(documents, start_positions)[:, :, None]
    word = words[:, None, :]
    covers = (word >= starts) & (word < starts + sizes) & candidates[:, None, :]
    covers &= documents[:, None, :] == start_documents
    numbers = jnp.arange(spans, dtype=words.dtype)[None, :, None]
    return jnp.where(covers, numbers, spans).min(axis=1)


def _span_sizes(key: Array, shape: tuple[int, int], stop: float, limit: int) -> Int[Array, "b s"]:
    """Draws sizes with P(size = n) proportional to stop (1 - stop)^(n - 1) for n = 1, …, limit."""
    sizes = jnp.arange(1, limit + 1)
    below = jnp.cumsum(stop * (1.0 - stop) ** (sizes - 1.0))
    drawn = jax.random.uniform(key, shape) * below[-1]
    return jnp.searchsorted(below, drawn, side="right").astype(jnp.int32) + 1
