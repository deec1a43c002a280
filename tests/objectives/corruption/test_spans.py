"""Spans: their number, their lengths, and how they are spread over a row."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.objectives.batches.batch import Vocabulary
from jaxssl.objectives.corruption.spans import (
    choose,
    most_spans,
    poisson_spans,
    run_starts,
    segmented_spans,
)
from tests.tiny import BEGIN, END, FIRST, tiny_spec

VOCABULARY = Vocabulary.of(tiny_spec())

spans_of = jax.jit(partial(poisson_spans, rate=0.3, mean_span=3.0))


def test_lengths_of_spans_are_poisson():
    row = np.full((256, 512), FIRST, np.int32)
    row[:, 0], row[:, -1] = BEGIN, END
    number, empty = map(np.asarray, spans_of(jax.random.key(2), jnp.asarray(row >= FIRST)))
    assert ((number >= 0).sum(axis=1) == 153).all()
    sizes = []
    for line, none in zip(number, empty, strict=True):
        last = line.max()  # which is cut
        sizes += [(line == n).sum() for n in range(last) if (line == n).any()] + [0] * none.sum()
    sizes = np.array(sizes)
    assert len(sizes) > 10_000
    # Hiding until there is enough favours short spans a little less than a fixed number would.
    for size, chance in ((0, 0.0498), (1, 0.1494), (3, 0.2240), (6, 0.0504)):
        assert abs((sizes == size).mean() - chance) < 0.015, size
    assert abs(sizes.mean() - 3.0) < 0.1
    shares = (number >= 0).mean(axis=0)[10:-10]  # the first and the last few less: one span alone
    assert shares.min() > 0.15
    assert shares.max() < 0.45


def test_share_and_spans_are_the_papers():
    """568 tokens: 85 of them hidden in 28 spans, as in T5."""
    spec = tiny_spec(length=568)
    row = np.full((64, 568), FIRST, np.int32)
    row[:, 0], row[:, -1] = BEGIN, END
    is_text = ~VOCABULARY.special[jnp.asarray(row)]
    draw = jax.jit(partial(segmented_spans, rate=0.15, mean_span=3.0))
    spans = draw(jax.random.key(0), is_text)
    number = np.asarray(spans.number)
    assert ((number >= 0).sum(axis=1) == 85).all()
    assert (number.max(axis=1) == 27).all()
    assert not number[np.asarray(~is_text)].min() >= 0
    assert most_spans(0.15, 3.0, spec.length) == 28
    sizes = np.array([np.bincount(line[line >= 0], minlength=28) for line in number])
    assert sizes.min() == 1
    # A part of 85 tokens cut at random into 28: one token with chance 27 / 84.
    deviation = np.sqrt(27 / 84 * 57 / 84 / sizes.size)
    assert abs((sizes == 1).mean() - 27 / 84) < 5 * deviation
    # Every row starts with text and ends with a span; between, all places are alike likely.
    assert (number[:, 1] == -1).all()
    assert (number[:, -2] == 27).all()


def test_choices_are_exact_and_equally_likely():
    """Two of the first four of six positions: six choices, each within 5 standard deviations."""
    count, among = jnp.full(6000, 2), jnp.full(6000, 4)
    chosen = np.asarray(choose(jax.random.key(0), count, among, 6))
    assert (chosen.sum(axis=1) == 2).all()
    assert not chosen[:, 4:].any()
    _, counts = np.unique(chosen, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000 * 5 / 6)


def test_runs_begin_where_another_span_does():
    number = jnp.asarray([[0, 0, -1, 0, 1, 1, -1]])
    np.testing.assert_array_equal(run_starts(number), [[1, 0, 0, 1, 1, 0, 0]])
