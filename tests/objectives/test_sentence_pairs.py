"""Pairs: every token is accounted for, labels tell the truth, the rest of the row stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.objectives.batches.batch import Vocabulary
from jaxssl.objectives.sentence_pairs import NextSentence, SentenceOrder
from tests.tiny import BEGIN, END, PAD, tiny_rows, tiny_spec

VOCABULARY = Vocabulary.of(tiny_spec())


def longest_piece(row):
    """Slow reference: (first place, place behind the last) of the longest piece."""
    begins = [i for i, token in enumerate(row) if token == BEGIN]
    filled = int((row != PAD).sum())
    pieces = list(zip(begins, begins[1:] + [filled], strict=True))
    return max(pieces, key=lambda piece: (piece[1] - piece[0], -piece[0]))


def split_pair(piece):
    assert piece[0] == BEGIN
    ends = [i for i, token in enumerate(piece) if token == END]
    return list(piece[1 : ends[0]]), list(piece[ends[0] + 1 : ends[1]])


def test_next_sentence_pairs(key):
    tokens = tiny_rows(1, batch=64)
    pairs = NextSentence().pair(key, jnp.asarray(tokens), VOCABULARY)
    made, types, labels, valid = map(
        np.asarray, (pairs.tokens, pairs.types, pairs.labels, pairs.valid)
    )
    assert 0.2 < labels[valid].mean() < 0.8
    texts = [
        list(row[a + 1 : b - 1]) for row, (a, b) in ((row, longest_piece(row)) for row in tokens)
    ]
    for row in range(64):
        start, stop = longest_piece(tokens[row])
        if not valid[row]:
            np.testing.assert_array_equal(made[row], tokens[row])
            assert stop - start - 3 < 8
            continue
        outside = np.r_[0:start, stop:32]
        np.testing.assert_array_equal(made[row][outside], tokens[row][outside])
        assert pairs.positions[row] == start
        piece = made[row, start:stop]
        first, second = split_pair(piece)
        assert first == texts[row][: len(first)]
        assert types[row].sum() == len(second) + 1
        rest = texts[row][len(first) :][: len(second)]
        if labels[row]:
            assert len(second) <= len(rest) or second != rest
            assert any(
                second == other[i : i + len(second)]
                for n, other in enumerate(texts)
                if n != row
                for i in range(len(other) - len(second) + 1)
            )
        else:
            assert second == rest


def test_sizes_do_not_tell_what_follows():
    """The share of pairs whose second text is cut short is the same for both labels (5 sigma)."""
    tokens = jnp.asarray(tiny_rows(4, batch=4096))
    pairs = NextSentence().pair(jax.random.key(3), tokens, VOCABULARY)
    valid, labels = np.asarray(pairs.valid), np.asarray(pairs.labels)
    sizes = np.asarray(pairs.types).sum(axis=1)
    follows, random = sizes[valid & (labels == 0)], sizes[valid & (labels == 1)]
    noise = np.sqrt(follows.var() / len(follows) + random.var() / len(random))
    assert abs(follows.mean() - random.mean()) < 5 * noise


def test_sentence_order_swaps_or_keeps(key):
    tokens = tiny_rows(2, batch=64)
    pairs = SentenceOrder().pair(key, jnp.asarray(tokens), VOCABULARY)
    labels, valid = np.asarray(pairs.labels), np.asarray(pairs.valid)
    assert 0.2 < labels[valid].mean() < 0.8
    for row in np.flatnonzero(valid):
        start, stop = longest_piece(tokens[row])
        text = list(tokens[row, start + 1 : stop - 2])
        first, second = split_pair(np.asarray(pairs.tokens)[row, start:stop])
        assert (second + first if labels[row] else first + second) == text
        assert min(len(first), len(second)) >= len(text) // 4


def test_a_row_without_others_makes_no_pair(key):
    """All its pairs would have the same label."""
    tokens = tiny_rows(0, batch=1)
    pairs = NextSentence().pair(key, jnp.asarray(tokens), VOCABULARY)
    assert not pairs.valid.any()
    np.testing.assert_array_equal(pairs.tokens, tokens)


def test_half_of_the_pairs_are_random_however_much_padding_there_is():
    """A batch that padding fills up: second texts come from other rows with text."""
    tokens = np.full((500, 32), PAD, np.int32)
    tokens[:50] = [BEGIN, *range(5, 35), END]
    make = jax.jit(jax.vmap(lambda key: NextSentence().pair(key, jnp.asarray(tokens), VOCABULARY)))
    pairs = jax.device_get(make(jax.random.split(jax.random.key(0), 20)))
    np.testing.assert_array_equal(pairs.valid, np.tile(np.arange(500) < 50, (20, 1)))
    assert abs(pairs.labels[pairs.valid].mean() - 0.5) < 5 * 0.5 / 1000**0.5
    assert ((pairs.tokens[:, :50] == END).sum(axis=2) == 2).all()
    assert (pairs.types[:, :50].sum(axis=2) > 4).all()  # each has a second text


@pytest.mark.parametrize("task", [NextSentence(), SentenceOrder()])
def test_rows_that_fill_a_batch_up_make_no_pairs(task):
    """As at the end of the held-out rows; of one row alone there is no other to take a text from."""
    make = jax.jit(jax.vmap(lambda key, rows: task.pair(key, rows, VOCABULARY), (0, None)))
    keys = jax.random.split(jax.random.key(2), 200)
    for count in (0, 1, 3):
        tokens = np.full((8, 16), PAD, np.int32)
        tokens[:count] = [BEGIN, *range(5, 19), END]
        pairs = jax.device_get(make(keys, jnp.asarray(tokens)))
        expected = 0 if count == 1 and isinstance(task, NextSentence) else count
        np.testing.assert_array_equal(pairs.valid, np.tile(np.arange(8) < expected, (200, 1)))
        if expected:
            assert abs(pairs.labels[pairs.valid].mean() - 0.5) < 5 * 0.5 / (200 * expected) ** 0.5
        assert (pairs.tokens[:, count:] == PAD).all()


@pytest.mark.slow
def test_windows_without_end_and_empty_rows(key):
    tokens = np.full((4, 32), PAD, np.int32)
    tokens[0] = tokens[2] = [BEGIN, *([9] * 31)]
    pairs = NextSentence().pair(key, jnp.asarray(tokens), VOCABULARY)
    assert list(np.asarray(pairs.valid)) == [True, False, True, False]
    assert (np.asarray(pairs.tokens)[0] == END).sum() == 2
    assert not np.asarray(pairs.tokens)[[1, 3]].any()
    assert not np.asarray(pairs.labels)[[1, 3]].any()
