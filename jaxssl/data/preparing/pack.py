"""Packs documents into rows of one length: unsplit where they fit, and with little padding.

    piece   a document, or a window of one; in a row, it follows the token `begin`
    room    length - 1: the tokens of a row that remain beside one `begin`

A document consists of its tokens and `end`. If it fits into `room`, it is one piece. Otherwise it is
split into full windows of `room` tokens and a remainder, which shares a row with other pieces; there is
no `end` between the windows. The pieces of a document, joined without `begin`, are thus its tokens and
`end`.

Rows are filled by best fit decreasing: the longest piece is placed first, each piece into the row in
which it leaves the least room. This needs at most about 11/9 of the smallest possible number of rows. A
unit of a million tokens is packed in a few hundredths of a second.

References:
  Johnson et al. 1974, "Worst-case performance bounds for simple one-dimensional packing algorithms".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Packed:
    """The packed rows, and which documents are in each row (in compressed sparse row format)."""

    rows: np.ndarray
    """Token ids, int32 `[rows, length]`."""
    offsets: np.ndarray
    """Boundaries of the rows in `documents`, int64 `[rows + 1]`: the pieces of row r are
    offsets[r]:offsets[r + 1]."""
    documents: np.ndarray
    """Number of the document that each piece belongs to, int32 `[pieces]`, in order of the rows."""


def pack(documents: Sequence[np.ndarray], *, length: int, begin: int, end: int, pad: int) -> Packed:
    """Packs documents into rows.

    The rows are ordered by the last document in each, and the pieces of a row by document. Reading the
    rows in order therefore yields the pieces of each document in order, and the first held-out rows are
    as good a sample as the first held-out documents.

    Args:
      documents: Token ids of each document, int `[tokens]`, at least one, without special ids.
      length: Length of a row in tokens, at least 2.
      begin: Id before each piece.
      end: Id after each document.
      pad: Id that fills the unused end of a row.

    Returns:
      The rows.

    Raises:
      ValueError: `length` is below 2.
    """
    if length < 2:
        raise ValueError(
            f"length {length} leaves no room for a token beside `begin`; use at least 2"
        )
    if not documents:
        nothing = np.zeros(0, np.int32)
        return Packed(np.zeros((0, length), np.int32), np.zeros(1, np.int64), nothing)
    room = length - 1
    with_end = np.array([len(document) + 1 for document in documents])
    windows = -(-with_end // room)
    document = np.repeat(np.arange(len(documents)), windows)
    first = np.repeat(np.cumsum(windows) - windows, windows)
    size = np.minimum(room, with_end[document] - (np.arange(len(document)) - first) * room)

    row = _in_order_of_last(best_fit_decreasing(size + 1, length))
    by_row = np.argsort(row, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row))])
    filled = np.cumsum(size[by_row] + 1) - (size[by_row] + 1)
    position = np.empty(len(row), np.int64)  # position of the piece's `begin` in the flat rows
    position[by_row] = row[by_row] * length + filled - filled[offsets[:-1]][row[by_row]]

    # All documents, each with its `end`, joined, are also all pieces joined: one scatter fills the rows
    stream = np.empty(with_end.sum(), np.int32)
    is_end = np.zeros(len(stream), bool)
    is_end[np.cumsum(with_end) - 1] = True
    stream[is_end] = end
    stream[~is_end] = np.concatenate(documents)
    start = np.cumsum(size) - size
    flat = np.full(len(offsets[:-1]) * length, pad, np.int32)
    flat[np.arange(len(stream)) + np.repeat(position + 1 - start, size)] = stream
    flat[position] = begin
    return Packed(flat.reshape(-1, length), offsets, document[by_row].astype(np.int32))


def best_fit_decreasing(sizes: np.ndarray, capacity: int) -> np.ndarray:
    """Assigns pieces to rows, longest first, each to the row with the least sufficient room.

    Args:
      sizes: Length of each piece, int `[pieces]`, from 1 to `capacity`.
      capacity: Length of a row.

    Returns:
      The row of each piece, int64 `[pieces]`, with rows numbered in the order of their first piece.
    """
    row = np.empty(len(sizes), np.int64)
    order = np.argsort(-sizes, kind="stable")
    full = int((sizes == capacity).sum())
    row[order[:full]] = np.arange(full)
    rows = full
    with_room: list[list[int]] = [
        [] for _ in range(capacity + 1)
    ]  # rows by the room left in them, in tokens
    # Bit r of `rooms` is set if with_room[r] has a row, so the least room that fits is one shift away
    rooms = 0
    placed = []
    for size in sizes[order[full:]].tolist():
        fitting = rooms >> size
        if fitting:
            left = (fitting & -fitting).bit_length() - 1
            room = left + size
            chosen = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
        else:
            chosen, left = rows, capacity - size
            rows += 1
        placed.append(chosen)
        if left:
            with_room[left].append(chosen)
            rooms |= 1 << left
    row[order[full:]] = placed
    return row


def _in_order_of_last(row: np.ndarray) -> np.ndarray:
    """Renumbers the rows by the last piece in each: a remainder comes after its full windows."""
    _, last, inverse = np.unique(row[::-1], return_index=True, return_inverse=True)
    rank = np.empty(len(last), np.int64)
    rank[np.argsort(-last)] = np.arange(len(last))
    return rank[inverse[::-1]]
