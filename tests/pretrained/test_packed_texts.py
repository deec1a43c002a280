"""Texts are packed whole, into rows of few lengths that are well filled."""

import numpy as np
import pytest

from jaxssl.pretrained.packed_texts import best_row, most_texts, pack, packed_batches, row_lengths


def share_held(sizes, longest=512):
    rows = pack(sizes, longest)
    return sizes.sum() / sum(length * len(own) for length, own in rows.items())


def test_rows_by_hand():
    """The longest text first, each into the row with the least room that is enough."""
    assert pack(np.array([40, 20, 30, 44, 24]), 64) == {64: [[3, 1], [0, 4], [2]]}
    assert row_lengths(300) == (64, 96, 128, 192, 256, 300)
    assert row_lengths(20) == (20,)
    # 5 texts of 65 tokens fill 85 % of 384 positions, one fills 68 % of 96.
    assert best_row(65, 512) == 384
    assert best_row(64, 512) == 64


def test_batches_hold_every_text_once_and_their_rows_no_other():
    rng = np.random.default_rng(3)
    encoded = [rng.integers(1, 100, size).astype(np.int32) for size in rng.integers(1, 90, 200)]
    seen, shapes = [], set()
    for batch in packed_batches(encoded, pad=0, longest=96, tokens=256):
        shapes.add(batch.tokens.shape)
        assert batch.tokens.size <= 256
        assert (batch.tokens[batch.segments == 0] == 0).all()
        held = 0
        for text, where in zip(batch.texts, batch.where, strict=True):
            row, piece = divmod(int(where), batch.pieces)
            own = batch.tokens[row][batch.segments[row] == piece + 1]
            np.testing.assert_array_equal(own, encoded[text])
            held += len(own)
        assert held == (batch.segments > 0).sum()
        seen += batch.texts.tolist()
    assert sorted(seen) == list(range(200))
    # Full batches of two lengths, and the last ones.
    assert shapes <= {(2, 96), (1, 96), (4, 64), (3, 64), (2, 64), (1, 64)}


@pytest.mark.parametrize(("rows", "held"), [(1, 1), (3, 3), (5, 6), (9, 12), (17, 24), (32, 32)])
def test_the_last_batch_has_one_of_few_numbers_of_rows(rows, held):
    texts = [np.ones(64, np.int32)] * rows
    (batch,) = packed_batches(texts, pad=0, longest=64, tokens=64 * 32)
    assert batch.tokens.shape == (held, 64)


@pytest.mark.parametrize("sizes", [(6, 30), (2, 512), (65, 66), (33, 34), (33, 65)])
def test_rows_are_well_filled(sizes):
    drawn = np.random.default_rng(0).integers(*sizes, 3000)
    assert share_held(drawn) > 0.84


def test_a_row_has_room_for_few_very_short_texts():
    rows = pack(np.full(20, 2), 512)
    assert most_texts(64) == 8
    assert [len(row) for row in rows[64]] == [8, 8, 4]
    assert list(packed_batches([], pad=0, longest=64, tokens=64)) == []


def test_texts_without_tokens_are_in_no_row():
    assert pack(np.array([0, 5, 0]), 64) == {64: [[1]]}
    assert pack(np.array([0]), 64) == {}


def test_a_text_that_is_too_long():
    with pytest.raises(ValueError, match="a text of 9 tokens exceeds longest=8"):
        next(packed_batches([np.zeros(9, np.int32)], pad=0, longest=8, tokens=64))
