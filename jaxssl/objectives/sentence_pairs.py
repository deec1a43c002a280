"""The second task of masked LM: do two pieces of text follow each other? Pairs are made from the same rows.

The longest document of every row is rewritten; everything else of the row stays:

    [begin] t1 … tn [end]   ->   [begin] A [end] B [end]      split at the start of a word in the middle half

    next sentence   B comes from another row in half of the rows; where BERT takes a random document, this
                    takes another row of the shuffled batch. Rows without a document that is long enough
                    take no part, among them rows of padding; a row that is left alone makes no pair
    sentence order  A and B are swapped in half of the rows

Labels: 0 where the texts follow each other, 1 where they do not.

Deviations from the papers, with the reason for each:
  - A pair is made of one document of a packed row, split at a word; theirs are runs of whole sentences that
    fill a row, one row in ten a shorter one (rows hold several documents of any length, and sentences are
    not marked). The other documents of the row have no second text.
  - A random B is the second part of another row's longest document, not any passage of another document of
    the corpus (it is made on the device). It may be of the same document, where that fills several rows.
  - B is as long as the shorter of the two candidates, so that its size does not reveal which it is. In their
    code a text of one sentence always gets a random B, and pairs that are too long lose tokens at either end
    (here no pair is).
  - Sentence order goes with any masking of `masked_lm.py`; ALBERT hides runs of one to three words, with
    probabilities in proportion to 1, 1/2 and 1/3, and shares the parameters of all layers (this file is the
    second task alone).

References:
  Devlin et al. 2019, "BERT", section 3.1; Lan et al. 2020, "ALBERT", section 3.1 (sentence order).

    batch    rows                       length   tokens of a row
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jaxssl.errors import check_share, checked
from jaxssl.objectives.batches.batch import Vocabulary
from jaxssl.objectives.batches.row_axis import all_rows, row_numbers
from jaxssl.objectives.corruption.positions import count_at, read_at

SHORTEST_TEXT = 8  # tokens of text; a row whose longest document has fewer gets no pair


class Pairs(NamedTuple):
    """The rows with their pairs."""

    tokens: Int[Array, "batch length"]
    """Rewritten rows."""
    types: Int[Array, "batch length"]
    """1 for B and its end token, else 0."""
    positions: Int[Array, " batch"]
    """Position of the begin token of each pair."""
    labels: Int[Array, " batch"]
    """0 where B follows A in the text, else 1."""
    valid: Bool[Array, " batch"]
    """Whether the row has a document that is long enough for a pair."""


@dataclass(frozen=True)
@checked
class NextSentence:
    """Asks whether B continues A or comes from another row (Devlin et al. 2019, section 3.1)."""

    random_share: float = 0.5
    """Probability that B comes from another row."""

    def __post_init__(self) -> None:
        check_share(self, "random_share", one=True)

    def pair(self, key: Array, tokens: Int[Array, "batch length"], vocabulary: Vocabulary) -> Pairs:
        """Makes a pair in every row.

        Args:
          key: Random key.
          tokens: Rows as they were read, `[batch, length]`.
          vocabulary: Special tokens, and which tokens begin a word.
        """
        split_key, label_key, other_key = jax.random.split(key, 3)
        text = _split_longest(split_key, tokens, vocabulary)
        own = row_numbers(len(tokens))
        other, has_other = _another(other_key, own, all_rows(text.valid))
        text = text._replace(valid=text.valid & has_other)
        is_random = jax.random.uniform(label_key, own.shape) < self.random_share
        source = jnp.where(is_random, other, own)
        second_start = all_rows(text.start + text.head)[source]
        # B is as long as the shorter of the two candidates, so that its size does not reveal which it is.
        sizes = all_rows(text.size - text.head)
        return _write_pairs(
            tokens,
            all_rows(tokens)[source],
            text,
            _Halves(text.start, text.head, second_start, jnp.minimum(sizes[own], sizes[other])),
            is_random,
            vocabulary,
        )


@dataclass(frozen=True)
@checked
class SentenceOrder:
    """Asks whether A and B were swapped (Lan et al. 2020, "ALBERT", section 3.1)."""

    swapped_share: float = 0.5
    """Probability that A and B are swapped."""

    def __post_init__(self) -> None:
        check_share(self, "swapped_share", one=True)

    def pair(self, key: Array, tokens: Int[Array, "batch length"], vocabulary: Vocabulary) -> Pairs:
        """Makes a pair in every row.

        Args:
          key: Random key.
          tokens: Rows as they were read, `[batch, length]`.
          vocabulary: Special tokens, and which tokens begin a word.
        """
        split_key, label_key = jax.random.split(key)
        text = _split_longest(split_key, tokens, vocabulary)
        swapped = jax.random.uniform(label_key, text.head.shape) < self.swapped_share
        swapped &= text.valid
        head_start, head_size = text.start, text.head
        tail_start, tail_size = text.start + text.head, text.size - text.head
        halves = _Halves(
            jnp.where(swapped, tail_start, head_start),
            jnp.where(swapped, tail_size, head_size),
            jnp.where(swapped, head_start, tail_start),
            jnp.where(swapped, head_size, tail_size),
        )
        return _write_pairs(tokens, tokens, text, halves, swapped, vocabulary)


class _LongestText(NamedTuple):
    """The longest document of each row, and where it is split."""

    piece: Bool[Array, "batch length"]
    """Whether a position belongs to the document, begin and end tokens included."""
    start: Int[Array, " batch"]
    """Position of its first text token."""
    size: Int[Array, " batch"]
    """Number of text tokens for which the pair has room."""
    head: Int[Array, " batch"]
    """How many of them belong to A."""
    valid: Bool[Array, " batch"]
    """Whether the document is long enough."""


class _Halves(NamedTuple):
    """Positions at which A and B begin in the rows that they come from, and their sizes in tokens."""

    first_start: Int[Array, " batch"]
    first_size: Int[Array, " batch"]
    second_start: Int[Array, " batch"]
    second_size: Int[Array, " batch"]


def _another(
    key: Array, own: Int[Array, " batch"], valid: Bool[Array, " all"]
) -> tuple[Int[Array, " batch"], Bool[Array, ""]]:
    """Chooses another valid row for every valid row, and says whether there is one.

    The valid rows stand in a ring, and every row takes the one that is some steps further on, so that no row
    gets itself, and padding is never chosen.
    """
    ring = jnp.argsort(~valid, stable=True)  # the valid rows first
    count = valid.sum()
    steps = jax.random.randint(key, (), 1, jnp.maximum(count, 2))
    position = jnp.cumsum(valid)[own] - 1
    return ring[(position + steps) % jnp.maximum(count, 1)], count > 1


def _split_longest(key: Array, tokens: Array, vocabulary: Vocabulary) -> _LongestText:
    length = tokens.shape[1]
    position = jnp.arange(length)[None]
    filled = tokens != vocabulary.pad
    segments = jnp.where(filled, jnp.cumsum(tokens == vocabulary.begin, axis=1), 0)
    sizes = count_at(segments, length + 1, filled)
    piece = (segments == jnp.argmax(sizes, axis=1)[:, None]) & filled
    begin = jnp.argmax(piece, axis=1)
    size = jnp.maximum(piece.sum(axis=1) - 3, 0)  # without the begin token and two end tokens
    valid = size >= SHORTEST_TEXT
    index = position - (begin[:, None] + 1)
    in_middle = (index >= size[:, None] // 4 + 1) & (index <= size[:, None] * 3 // 4)
    # A random position of the middle half; positions at which a word starts are preferred.
    score = jax.random.uniform(key, tokens.shape) + vocabulary.starts_word[tokens]
    head = jnp.argmax(jnp.where(in_middle, score, -1.0), axis=1) - (begin + 1)
    return _LongestText(piece, begin + 1, size, jnp.where(valid, head, 0), valid)


def _write_pairs(
    first_rows: Array,
    second_rows: Array,
    text: _LongestText,
    halves: _Halves,
    labels: Array,
    vocabulary: Vocabulary,
) -> Pairs:
    first_start, first_size, second_start, second_size = (half[:, None] for half in halves)
    position = jnp.arange(first_rows.shape[1])[None]
    step = position - (text.start[:, None] - 1)  # 0 at the pair's begin token
    in_second = step - first_size - 2  # 0 at the first token of B

    def take(rows: Array, positions: Array) -> Array:
        return read_at(rows, jnp.clip(positions, 0, rows.shape[1] - 1))

    pair = jnp.full_like(first_rows, vocabulary.pad)
    pair = jnp.where(in_second == second_size, vocabulary.end, pair)
    is_second = (in_second >= 0) & (in_second < second_size)
    pair = jnp.where(is_second, take(second_rows, second_start + in_second), pair)
    pair = jnp.where(in_second == -1, vocabulary.end, pair)
    pair = jnp.where(in_second < -1, take(first_rows, first_start + step - 1), pair)
    pair = jnp.where(step == 0, vocabulary.begin, pair)
    rewritten = text.piece & text.valid[:, None]
    tokens = jnp.where(rewritten, pair, first_rows)
    types = (rewritten & (in_second >= 0) & (tokens != vocabulary.pad)).astype(jnp.int32)
    labels = (labels & text.valid).astype(jnp.int32)
    return Pairs(tokens, types, jnp.maximum(text.start - 1, 0), labels, text.valid)
