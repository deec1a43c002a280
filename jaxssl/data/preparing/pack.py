"""Packs documents into rows of one length: whole where they fit, and with little padding.

    piece   a document, or a window of one; in a row it follows the token `begin`
    room    length - 1: what a row holds beside one `begin`

A document is its tokens and `end`. If that fits in `room` it is one piece, else it is cut into
full windows of `room` and a remainder, which shares a row with others. Where a window was cut there
is no `end`. So the pieces of a document, joined without `begin`, are its tokens and `end`.

Rows are filled by best fit decreasing (Johnson et al. 1974; at most 11/9 of the fewest rows): the
longest piece goes first, each into the row that it leaves least room in. A unit of a million tokens
packs in a few hundredths of a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Packed:
    """Rows, and the documents of every row in the order of its pieces (compressed sparse rows)."""

    rows: np.ndarray  # int32 [rows, length]
    offsets: np.ndarray  # int64 [rows + 1]; the pieces of row r are offsets[r]:offsets[r + 1]
    documents: np.ndarray  # int32 [pieces]; number of the document that a piece is of


def pack(documents: Sequence[np.ndarray], *, length: int, begin: int, end: int, pad: int) -> Packed:
    """Packs documents (arrays of token ids, without special ids) into rows of `length` tokens.

    Rows come in the order of the last document in each, pieces of a row in the order of documents,
    so whoever reads the rows in order meets the pieces of a document in order, and a head of the
    held-out rows is no worse a sample than a head of the documents. `length` must be at least 2.
    """
    if length < 2:
        raise ValueError(f"length {length} leaves no room for a token beside `begin`")
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
    place = np.empty(len(row), np.int64)  # where in the flat rows the piece's `begin` stands
    place[by_row] = row[by_row] * length + filled - filled[offsets[:-1]][row[by_row]]

    # The stream of all documents, each with its end, is the pieces one after another: one scatter.
    stream = np.empty(with_end.sum(), np.int32)
    is_end = np.zeros(len(stream), bool)
    is_end[np.cumsum(with_end) - 1] = True
    stream[is_end] = end
    stream[~is_end] = np.concatenate(documents)
    start = np.cumsum(size) - size
    flat = np.full(len(offsets[:-1]) * length, pad, np.int32)
    flat[np.arange(len(stream)) + np.repeat(place + 1 - start, size)] = stream
    flat[place] = begin
    return Packed(flat.reshape(-1, length), offsets, document[by_row].astype(np.int32))


def best_fit_decreasing(sizes: np.ndarray, capacity: int) -> np.ndarray:
    """The row of every piece: each goes, longest first, to the row with the least room that fits.

    sizes int [pieces], each 1 to capacity -> int64 [pieces], rows numbered as they were opened.
    """
    row = np.empty(len(sizes), np.int64)
    order = np.argsort(-sizes, kind="stable")
    full = int((sizes == capacity).sum())
    row[order[:full]] = np.arange(full)
    rows = full
    with_room: list[list[int]] = [[] for _ in range(capacity + 1)]  # rows by the room left in them
    rooms = (
        0  # bit r is set where with_room[r] has a row: the least room that fits is one shift away
    )
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
    """Rows numbered anew by the last piece in each: a remainder comes after its full windows."""
    _, last, inverse = np.unique(row[::-1], return_index=True, return_inverse=True)
    rank = np.empty(len(last), np.int64)
    rank[np.argsort(-last)] = np.arange(len(last))
    return rank[inverse[::-1]]
