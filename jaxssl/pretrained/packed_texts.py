"""Packs encoded texts of many lengths into rows of few lengths, with hardly any padding.

    sizes     5 9 3 12 4    ->    row 0: 12 4     row 1: 9 5     row 2: 3

Every text stays whole and is a segment of its row, so that a network which reads packed rows (`packing.py`)
computes the same as for the text alone.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

WELL_FILLED = 0.9  # share of the positions of rows that hold a token
SHORTEST_ROW = 64  # attention over so few positions costs little beside the dense layers
FEWEST_TOKENS = 8  # of a text, on average, in a full row: a row of 64 has room for 8 texts
ATTENTION_SHARE = (
    1 / 2000
)  # time of attention per position of a row, relative to that of dense layers


@dataclass(frozen=True)
class PackedBatch:
    """Rows of equal length, and which texts are in them."""

    tokens: Int[np.ndarray, "rows length"]
    """Token ids, int32."""
    segments: Int[np.ndarray, "rows length"]
    """Number of the text of every position, from 1 in each row, int32; 0 is padding."""
    pieces: int
    """Upper limit of the number of texts of a row."""
    texts: Int[np.ndarray, " texts"]
    """Position of each text of the batch in what was packed."""
    where: Int[np.ndarray, " texts"]
    """`row * pieces + number in its row` of each of these texts, counted from 0."""


def packed_batches(
    encoded: Sequence[Int[np.ndarray, " length"]], *, pad: int, longest: int, tokens: int
) -> Iterator[PackedBatch]:
    """Packs texts into batches.

    The shapes of the batches are among few, whatever the texts are: rows of one of `row_lengths(longest)`,
    and of each length as many as have about `tokens` tokens, or, for the last ones, 1, 2, 3, 4, 6, 8, 12, ….

    Args:
      encoded: Token ids of each text, `[length]`, with all tokens that the network reads around it.
      pad: Id of padding.
      longest: Length of the longest text that may occur, in tokens.
      tokens: Number of tokens of a batch, padding included. Longer rows come one at a time.

    Yields:
      The batches, long rows first. Every text that has tokens is in one of them.

    Raises:
      ValueError: A text is longer than `longest`.
    """
    sizes = np.array([len(ids) for ids in encoded], np.int64)
    if len(sizes) and sizes.max() > longest:
        raise ValueError(f"a text of {sizes.max()} tokens exceeds longest={longest}")
    rows = pack(sizes, longest)
    for length in sorted(rows, reverse=True):
        full = max(tokens // length, 1)
        for first in range(0, len(rows[length]), full):
            yield _batch(encoded, rows[length][first : first + full], length, full, pad)


def row_lengths(longest: int) -> tuple[int, ...]:
    """Returns the lengths of rows: 64, 96, 128, 192, 256, … up to `longest`, at most a half longer each."""
    lengths, power = [], SHORTEST_ROW
    while power < longest:
        lengths += [power, power * 3 // 2]
        power *= 2
    return (*(length for length in lengths if length < longest), longest)


def pack(sizes: Int[np.ndarray, " texts"], longest: int) -> dict[int, list[list[int]]]:
    """Assigns texts to rows.

    A new row is the shortest one that holds its first text, and shorter texts fill it up. Where there are too
    few of them, new rows are long enough for several texts of the size of the first one.

    Args:
      sizes: Length of each text in tokens, `[texts]`.
      longest: Length of the longest rows.

    Returns:
      Length of rows -> rows, each as the list of the positions of its texts.
    """
    lengths = row_lengths(longest)
    every = np.unique(sizes[sizes > 0]).tolist()
    shortest = _fill(sizes, {size: lengths[bisect_left(lengths, size)] for size in every})
    held = sum(length * len(rows) for length, rows in shortest.items())
    if sizes.sum() >= WELL_FILLED * held:
        return shortest
    longer = _fill(sizes, {size: best_row(size, longest) for size in every})
    return min(shortest, longer, key=_cost)


def _fill(
    sizes: Int[np.ndarray, " texts"], new_row: Mapping[int, int]
) -> dict[int, list[list[int]]]:
    """Assigns texts to rows, the longest first, each to the row with the least room that is enough.

    `new_row` has the length of a new row by the size of its first text.
    """
    rows: dict[int, list[list[int]]] = {}
    # Rows that are not full, by their room
    open_rows: dict[int, list[tuple[list[int], int]]] = defaultdict(list)
    rooms = 0  # bit r is set where a row has room r
    order = np.argsort(-sizes, kind="stable")
    for text in order[: np.count_nonzero(sizes)].tolist():
        size = int(sizes[text])
        enough = rooms >> size
        if enough:
            room = size + (enough & -enough).bit_length() - 1
            row, length = open_rows[room].pop()
            if not open_rows[room]:
                rooms &= ~(1 << room)
            row.append(text)
        else:
            length = room = new_row[size]
            row = [text]
            rows.setdefault(length, []).append(row)
        left = room - size
        if left and len(row) < most_texts(length):
            open_rows[left].append((row, length))
            rooms |= 1 << left
    return rows


def _cost(rows: Mapping[int, list[list[int]]]) -> float:
    """Time of all rows, in that of the dense layers for one token."""
    return sum(length * len(own) * (1 + length * ATTENTION_SHARE) for length, own in rows.items())


def best_row(size: int, longest: int) -> int:
    """Returns the length of row that would cost the least per token if all texts had `size` tokens.

    Args:
      size: Length of the texts in tokens.
      longest: Length of the longest rows.
    """

    def cost(length: int) -> float:
        held = min(length // size, most_texts(length)) * size
        return length / held * (1 + length * ATTENTION_SHARE)

    return min((length for length in row_lengths(longest) if length >= size), key=cost)


def most_texts(length: int) -> int:
    """Returns the upper limit of the number of texts in a row of `length` tokens."""
    return max(length // FEWEST_TOKENS, 1)


def _batch(
    encoded: Sequence[np.ndarray], rows: list[list[int]], length: int, full: int, pad: int
) -> PackedBatch:
    """A batch of up to `full` rows; where there are fewer, of two, three or four times a power of two."""
    step = 1 << max((len(rows) - 1).bit_length() - 2, 0)
    count = min(-(-len(rows) // step) * step, full)
    pieces = most_texts(length)
    tokens = np.full((count, length), pad, np.int32)
    segments = np.zeros((count, length), np.int32)
    texts, where = [], []
    for number, row in enumerate(rows):
        end = 0
        for piece, text in enumerate(row):
            begin, end = end, end + len(encoded[text])
            tokens[number, begin:end] = encoded[text]
            segments[number, begin:end] = piece + 1
            texts.append(text)
            where.append(number * pieces + piece)
    return PackedBatch(tokens, segments, pieces, np.array(texts), np.array(where))
