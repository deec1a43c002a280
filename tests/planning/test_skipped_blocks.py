"""Blocks of attention that are skipped in packed rows: hand-counted shares."""

import numpy as np
import pytest

from jaxssl.data.preparing.texts import Prepare
from jaxssl.models import bert, gpt2, modernbert
from jaxssl.planning.skipped_blocks import (
    document_length,
    packed_segments,
    skipped_share,
    skipped_shares,
)
from tests.data.tiny_corpus import Words, write_vocabulary

ONE = np.ones((2, 2048), np.int32)  # rows of 4 blocks of 512


def test_without_ends_only_causality_and_windows_skip():
    assert skipped_share(bert(2, 64, 1), ONE) == 0
    assert skipped_share(gpt2(2, 64, 1), ONE) == pytest.approx(6 / 16)
    # One global layer; two whose window of 64 reaches the neighbouring blocks: 10 of 16 pairs
    local = modernbert(depth=3, width=64, heads=1, window=64)
    assert skipped_share(local, ONE) == pytest.approx((0 + 2 * 6 / 16) / 3)


def test_documents_of_one_block_leave_the_diagonal():
    documents = np.repeat(np.arange(1, 5), 512)[None].astype(np.int32)
    assert skipped_share(bert(2, 64, 1), documents) == pytest.approx(12 / 16)


def test_made_up_rows_have_documents_of_the_wanted_length():
    segments = packed_segments(2048, 128)
    assert segments.shape == (64, 2048)
    assert (segments[:, 0] == 1).all()
    assert set(np.unique(np.diff(segments, axis=1))) == {0, 1}
    pieces = segments[:, -1].sum()
    assert segments.size / pieces == pytest.approx(128, rel=0.1)
    assert (packed_segments(100, None) == 1).all()
    # Nearly every end of a block is inside of a document: the diagonal and its neighbours, 10 of 16 pairs
    shares = skipped_shares({"encoder": bert(2, 64, 1)}, 2048, 128)
    assert shares["encoder"] == pytest.approx(6 / 16, abs=0.02)


def test_the_length_of_documents_is_given_or_that_of_the_set(tmp_path):
    assert document_length(str(tmp_path / "missing"), None) is None
    assert document_length(str(tmp_path / "missing"), 100) == 100
    prepared = str(tmp_path / "rows")
    Prepare(Words(), length=16, tokenizer=write_vocabulary(tmp_path), workers=1).into(prepared)
    assert 1 < document_length(prepared, None) < 100
