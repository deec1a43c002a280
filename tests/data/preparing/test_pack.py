"""Packing: nothing lost or repeated, whole documents stay whole, rows are full."""

import time

import numpy as np
import pytest

from jaxssl.data.preparing.pack import best_fit_decreasing, pack

PAD, BEGIN, END = 0, 2, 3


def documents_of(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(5, 99, n).astype(np.int32) for n in lengths]


def pieces_of(row):
    """A slow reading of the row format: the pieces, without `begin`; padding only at the end."""
    pieces, inside = [], True
    for token in row.tolist():
        if token == PAD:
            inside = False
        else:
            assert inside, "a token stands behind padding"
            if token == BEGIN:
                pieces.append([])
            else:
                pieces[-1].append(token)
    return pieces


def rejoined(packed):
    """Per document, its pieces joined in the order of rows."""
    joined = {}
    for number, row in enumerate(packed.rows):
        pieces = pieces_of(row)
        documents = packed.documents[packed.offsets[number] : packed.offsets[number + 1]]
        assert len(pieces) == len(documents)
        for document, piece in zip(documents.tolist(), pieces, strict=True):
            assert piece
            joined.setdefault(document, []).append(piece)
    return joined


@pytest.mark.parametrize("seed", range(20))
def test_every_token_once_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    length = int(rng.integers(2, 40))
    documents = documents_of(rng.integers(0, 3 * length, rng.integers(1, 60)), seed)
    packed = pack(documents, length=length, begin=BEGIN, end=END, pad=PAD)
    joined = rejoined(packed)
    assert sorted(joined) == list(range(len(documents)))
    for number, document in enumerate(documents):
        assert [t for piece in joined[number] for t in piece] == [*document.tolist(), END]
        if len(document) + 2 <= length:
            assert len(joined[number]) == 1
        else:
            assert all(len(piece) == length - 1 for piece in joined[number][:-1])


def test_by_hand():
    packed = pack(
        [np.array([10, 11, 12, 13, 14, 15]), np.array([20]), np.array([30, 31])],
        length=5,
        begin=BEGIN,
        end=END,
        pad=PAD,
    )
    assert packed.rows.tolist() == [
        [BEGIN, 10, 11, 12, 13],
        [BEGIN, 14, 15, END, PAD],
        [BEGIN, 20, END, PAD, PAD],
        [BEGIN, 30, 31, END, PAD],
    ]
    assert packed.offsets.tolist() == [0, 1, 2, 3, 4]
    assert packed.documents.tolist() == [0, 0, 1, 2]


def test_rows_come_in_the_order_of_documents():
    documents = documents_of(np.random.default_rng(1).integers(1, 100, 500))
    packed = pack(documents, length=32, begin=BEGIN, end=END, pad=PAD)
    lasts = packed.documents[packed.offsets[1:] - 1]
    assert (np.diff(lasts) >= 0).all()


def test_best_fit_against_a_slow_one():
    rng = np.random.default_rng(3)
    for _ in range(20):
        capacity = int(rng.integers(2, 50))
        sizes = rng.integers(1, capacity + 1, 80)
        row = best_fit_decreasing(sizes, capacity)
        filled = np.bincount(row, sizes)
        assert filled.max() <= capacity
        slow = []  # room left per row, searched through
        for size in sorted(sizes.tolist(), reverse=True):
            fitting = [room for room in slow if room >= size]
            if fitting:
                slow.remove(min(fitting))
            slow.append((min(fitting) if fitting else capacity) - size)
        assert sorted(capacity - filled) == sorted(slow)


def test_short_documents_fill_rows():
    documents = documents_of(np.random.default_rng(4).geometric(1 / 30, 5_000))
    packed = pack(documents, length=128, begin=BEGIN, end=END, pad=PAD)
    assert (packed.rows != PAD).mean() > 0.98


def test_no_documents_and_too_short_rows():
    assert pack([], length=8, begin=BEGIN, end=END, pad=PAD).rows.shape == (0, 8)
    with pytest.raises(ValueError, match="length 1"):
        pack(documents_of([3]), length=1, begin=BEGIN, end=END, pad=PAD)


def test_packing_is_a_small_part_of_preparing():
    documents = documents_of(np.random.default_rng(5).geometric(1 / 25, 40_000))
    began = time.process_time()
    pack(documents, length=128, begin=BEGIN, end=END, pad=PAD)
    assert time.process_time() - began < 1.0  # encoding the same tokens takes about two seconds
