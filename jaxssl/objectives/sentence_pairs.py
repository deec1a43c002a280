"""The second task of masked LM: do two pieces of text follow each other? Made from the same rows.

Of every row the longest piece is rewritten in place, everything else stays:

    [begin] t1 … tn [end]   ->   [begin] A [end] B [end]      A and B cut at a word of the middle half

    next sentence   B comes from another row in half of the rows (Devlin et al. 2019, section 3.1;
                    their random document is here another row of the shuffled batch)
    sentence order  A and B change places in half of the rows (Lan et al. 2020, ALBERT, section 3.1)

Shapes: `batch` rows, `length` tokens a row. Labels: 0 they follow each other, 1 they do not.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jaxssl.objectives.batches.batch import Vocabulary
from jaxssl.objectives.corruption.positions import count_at, read_at

SHORTEST_TEXT = 8  # tokens; a row whose longest piece has fewer takes no part


class Pairs(NamedTuple):
    """The rows with their pairs; `valid` is false where the row has no piece that is long enough."""

    tokens: Int[Array, "batch length"]
    types: Int[Array, "batch length"]  # 1 for B and its end, else 0
    positions: Int[Array, " batch"]  # where the pair's begin token stands
    labels: Int[Array, " batch"]
    valid: Bool[Array, " batch"]


@dataclass(frozen=True)
class NextSentence:
    """Is B the continuation of A, or from another row? (Devlin et al. 2019, section 3.1)"""

    random_share: float = 0.5

    def pair(self, key: Array, tokens: Int[Array, "batch length"], vocabulary: Vocabulary) -> Pairs:
        batch = tokens.shape[0]
        cut_key, label_key, other_key = jax.random.split(key, 3)
        text = _cut_longest(cut_key, tokens, vocabulary)
        shift = jax.random.randint(other_key, (), 1, max(batch, 2))
        other = (jnp.arange(batch) + shift) % batch
        is_random = jax.random.uniform(label_key, (batch,)) < self.random_share
        is_random &= text.valid[other] & (other != jnp.arange(batch))
        source = jnp.where(is_random, other, jnp.arange(batch))
        second_start = (text.start + text.cut)[source]
        # Cut to the other row's size whichever is taken: the size must not tell which it was.
        own_size = text.size - text.cut
        second_size = jnp.where(text.valid[other], jnp.minimum(own_size, own_size[other]), own_size)
        return _write_pairs(
            tokens,
            tokens[source],
            text,
            _Halves(text.start, text.cut, second_start, second_size),
            is_random,
            vocabulary,
        )


@dataclass(frozen=True)
class SentenceOrder:
    """Have A and B changed places? (Lan et al. 2020, ALBERT, section 3.1)"""

    swapped_share: float = 0.5

    def pair(self, key: Array, tokens: Int[Array, "batch length"], vocabulary: Vocabulary) -> Pairs:
        cut_key, label_key = jax.random.split(key)
        text = _cut_longest(cut_key, tokens, vocabulary)
        swapped = jax.random.uniform(label_key, text.cut.shape) < self.swapped_share
        swapped &= text.valid
        head_start, head_size = text.start, text.cut
        tail_start, tail_size = text.start + text.cut, text.size - text.cut
        halves = _Halves(
            jnp.where(swapped, tail_start, head_start),
            jnp.where(swapped, tail_size, head_size),
            jnp.where(swapped, head_start, tail_start),
            jnp.where(swapped, head_size, tail_size),
        )
        return _write_pairs(tokens, tokens, text, halves, swapped, vocabulary)


class _LongestText(NamedTuple):
    """The text of a row's longest piece that a pair has room for, and where it is cut."""

    piece: Bool[Array, "batch length"]  # the places of the piece, begin and end included
    start: Int[Array, " batch"]  # place of its first text token
    size: Int[Array, " batch"]  # text tokens that are used
    cut: Int[Array, " batch"]  # how many of them go to A
    valid: Bool[Array, " batch"]


class _Halves(NamedTuple):
    first_start: Int[Array, " batch"]
    first_size: Int[Array, " batch"]
    second_start: Int[Array, " batch"]
    second_size: Int[Array, " batch"]


def _cut_longest(key: Array, tokens: Array, vocabulary: Vocabulary) -> _LongestText:
    length = tokens.shape[1]
    place = jnp.arange(length)[None]
    filled = tokens != vocabulary.pad
    segments = jnp.where(filled, jnp.cumsum(tokens == vocabulary.begin, axis=1), 0)
    sizes = count_at(segments, length + 1, filled)
    piece = (segments == jnp.argmax(sizes, axis=1)[:, None]) & filled
    begin = jnp.argmax(piece, axis=1)
    size = jnp.maximum(piece.sum(axis=1) - 3, 0)  # room for begin and two ends
    valid = size >= SHORTEST_TEXT
    index = place - (begin[:, None] + 1)
    in_middle = (index >= size[:, None] // 4 + 1) & (index <= size[:, None] * 3 // 4)
    # A random place of the middle half; a place where a word starts goes before all others.
    score = jax.random.uniform(key, tokens.shape) + vocabulary.starts_word[tokens]
    cut = jnp.argmax(jnp.where(in_middle, score, -1.0), axis=1) - (begin + 1)
    return _LongestText(piece, begin + 1, size, jnp.where(valid, cut, 0), valid)


def _write_pairs(
    first_rows: Array,
    second_rows: Array,
    text: _LongestText,
    halves: _Halves,
    labels: Array,
    vocabulary: Vocabulary,
) -> Pairs:
    first_start, first_size, second_start, second_size = (half[:, None] for half in halves)
    place = jnp.arange(first_rows.shape[1])[None]
    step = place - (text.start[:, None] - 1)  # 0 at the pair's begin token
    in_second = step - first_size - 2  # 0 at the first token of B

    def take(rows: Array, places: Array) -> Array:
        return read_at(rows, jnp.clip(places, 0, rows.shape[1] - 1))

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
