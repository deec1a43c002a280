"""Span corruption: shares and spans as in the paper, and input and target rebuild the row exactly."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.recipes import t5
from jaxssl.objectives import SpanCorruption
from jaxssl.objectives.batches.batch import Text, Vocabulary
from tests.objectives.learned_by_heart import check_text_is_learned
from tests.tiny import BEGIN, END, FIRST, PAD, UNKNOWN, tiny_rows, tiny_spec

SPEC = tiny_spec()
VOCABULARY = Vocabulary.of(SPEC)
SENTINEL = SPEC.vocab_size
SHAPE = {"depth": 2, "width": 32, "heads": 2, "max_length": 32, "dropout": 0.0}
CORRUPTION = SpanCorruption(t5(**SHAPE), t5(**SHAPE, causal=True), documents=8, sentinels=32)


@partial(jax.jit, static_argnums=0)
def corrupt(objective, tokens, key):
    return objective.corrupt(Text(tokens, VOCABULARY), key)


def corrupted(tokens, seed=0, **changes):
    objective = dataclasses.replace(CORRUPTION, **changes)
    return jax.device_get(corrupt(objective, jnp.asarray(tokens), jax.random.key(seed)))


def pieces(row):
    """The documents of a row as lists, each from its begin on; by number from 1."""
    found = []
    for token in row:
        if token == BEGIN:
            found.append([])
        if token != PAD:
            found[-1].append(int(token))
    return dict(enumerate(found, 1))


def by_segment(row, segments):
    return {s: [int(t) for t in row[segments == s]] for s in sorted(set(segments.tolist()) - {0})}


def rebuilt(examples, row):
    """The documents of a row, the holes of the inputs filled with what is written for them."""
    read = by_segment(np.asarray(examples.inputs[row]), np.asarray(examples.segments[row]))
    written = by_segment(
        np.asarray(examples.written[row]), np.asarray(examples.written_segments[row])
    )
    for number, document in written.items():
        assert document[0] == BEGIN
        assert document[-1] == END
        spans, filled = {}, []
        for token in document[1:-1]:
            if token >= SENTINEL:
                spans[token] = []
                assert token == SENTINEL + len(spans) - 1  # in order
            else:
                spans[max(spans)].append(token)
        holes = [token for token in read[number] if token >= SENTINEL]
        assert holes == list(spans)
        for token in read[number]:
            filled += spans.get(token, [token])
        assert min(map(len, spans.values())) > 0
        read[number] = filled
    assert not [t for n, d in read.items() if n not in written for t in d if t >= SENTINEL]
    return read


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("changes", [{}, {"rate": 0.5, "mean_span": 1.5}], ids=["t5", "half"])
def test_input_and_target_rebuild_the_row(seed, changes):
    tokens = tiny_rows(seed, batch=32, sparse=True)
    tokens[20, 2] = UNKNOWN
    examples = corrupted(tokens, seed, **changes)
    lengths = dataclasses.replace(CORRUPTION, **changes).lengths(32)
    assert examples.inputs.shape == (32, lengths.read)
    assert examples.written.shape == (32, lengths.written)
    for row in range(32):
        assert rebuilt(examples, row) == pieces(tokens[row])
    assert float(examples.counts["left_out"][0].sum()) == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_row_of_too_many_documents_is_rebuilt_as_far_as_there_is_room(seed):
    """Eight documents where there is room for one: what is hidden, and what is left out, is told."""
    tokens = np.tile(np.array([BEGIN, 9, 8, END], np.int32), (16, 8))
    examples = corrupted(tokens, seed, documents=1, rate=0.3)
    hidden, text = examples.counts["hidden"]
    for row in range(16):
        made, whole = rebuilt(examples, row), pieces(tokens[row])
        flat = [token for document in made.values() for token in document]
        assert flat == [token for document in whole.values() for token in document][: len(flat)]
        assert len(flat) == 32 - examples.counts["left_out"][0][row]
        written = np.asarray(examples.written[row])
        assert hidden[row] == ((written >= FIRST) & (written < SENTINEL)).sum()
    assert (np.asarray(text) == 16).all()
    assert 32 < hidden.sum() < 5 * 16  # 30 % of 16 tokens are 5


def test_weights_targets_and_bytes():
    tokens = tiny_rows(1, batch=32, sparse=True)
    examples = corrupted(tokens)
    targets, weights = np.asarray(examples.targets), np.asarray(examples.weights)
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-6)
    assert len(np.unique(weights)) == 2
    following = np.asarray(examples.written)[:, 1:]
    np.testing.assert_array_equal(targets[:, :-1], following)
    np.testing.assert_array_equal(weights[:, :-1] > 0, (following != PAD) & (following != BEGIN))
    lengths = np.asarray(examples.byte_lengths)
    is_text = (targets >= FIRST) & (targets < SENTINEL)
    np.testing.assert_array_equal(lengths, np.where(is_text, 1 + targets % 4, 0))
    assert float(examples.total[0]) == (weights > 0).sum()


def test_rows_without_text_have_nothing_to_write():
    tokens = np.full((32, 32), PAD, np.int32)
    tokens[1, :2], tokens[2, :3] = [BEGIN, END], [BEGIN, 9, END]
    examples = corrupted(tokens)
    assert not np.asarray(examples.written).any()
    assert not np.asarray(examples.weights).any()
    np.testing.assert_array_equal(np.asarray(examples.inputs)[:, :3], tokens[:, :3])


@pytest.mark.slow
def test_rows_do_not_depend_on_devices():
    from jax.sharding import NamedSharding, PartitionSpec

    tokens = jnp.asarray(tiny_rows(batch=32))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(tokens, NamedSharding(mesh, PartitionSpec("data")))
    one, many = (corrupt(CORRUPTION, rows, jax.random.key(0)) for rows in (tokens, sharded))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"rate": 0.0}, "rate=0.0 must be above 0"),
        ({"mean_span": 0.5}, "mean_span=0.5 must be at least 1"),
        ({"documents": 0}, "documents=0 must be at least 1"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(CORRUPTION, **changes)


def test_rows_that_do_not_fit_the_model(key):
    with pytest.raises(InputError, match="rows of 64 tokens exceed max_length 32 of the encoder"):
        CORRUPTION.init(key, tiny_spec(length=64))
    many = dataclasses.replace(CORRUPTION, rate=0.4, mean_span=1.5)
    with pytest.raises(InputError, match="rows of 43 tokens exceed max_length 32 of the decoder"):
        many.init(key, SPEC)
    with pytest.raises(
        InputError,
        match="sentinels=1 are fewer than the 2 spans of a row of 32 tokens; set sentinels to 128",
    ):
        dataclasses.replace(CORRUPTION, sentinels=1).init(key, SPEC)


@pytest.mark.slow
def test_one_batch_is_learned():
    networks = (t5(**{**SHAPE, "depth": 1}), t5(**{**SHAPE, "depth": 1}, causal=True))
    check_text_is_learned(SpanCorruption(*networks, documents=8, sentinels=14), SPEC)


def test_lengths_are_those_of_t5():
    """568 tokens make T5's 512 inputs and 114 targets, which count an end token; ours are in the row."""
    lengths = dataclasses.replace(CORRUPTION, documents=1).lengths(568)
    assert (lengths.read, lengths.written) == (511, 115)


def test_sentinels_of_the_vocabulary_count_down():
    """The same rows as with sentinels above the vocabulary, but for their ids."""
    tokens = tiny_rows(0, batch=8)
    first = SPEC.vocab_size - 1
    above, within = corrupted(tokens), corrupted(tokens, first_sentinel=first)
    for name in ("inputs", "written"):
        rows = getattr(above, name)
        down = np.where(rows >= SENTINEL, first - (rows - SENTINEL), rows)
        np.testing.assert_array_equal(getattr(within, name), down)
    assert dataclasses.replace(CORRUPTION, first_sentinel=first).table_size(50) == 50
    assert CORRUPTION.table_size(50) == 50 + 32


def test_sentinels_that_no_vocabulary_has_are_refused(key):
    with pytest.raises(InputError, match=r"first_sentinel=30 .* sentinels to at most 31"):
        dataclasses.replace(CORRUPTION, first_sentinel=30)
    with pytest.raises(InputError, match=f"no id of a vocabulary of {SPEC.vocab_size}"):
        dataclasses.replace(CORRUPTION, first_sentinel=SPEC.vocab_size).init(key, SPEC)
