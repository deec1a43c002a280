"""Denoising: what is damaged, how much of it, and that nothing leaves its document."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.recipes import bart
from jaxssl.objectives import Denoising
from jaxssl.objectives.batches.batch import Text, Vocabulary
from jaxssl.objectives.corruption.spans import poisson_spans
from jaxssl.objectives.denoising import delete_tokens, infill, permute_sentences
from tests.objectives.learned_by_heart import check_text_is_learned
from tests.tiny import BEGIN, END, FIRST, MASK, PAD, UNKNOWN, tiny_rows, tiny_spec

VOCABULARY = Vocabulary.of(tiny_spec())
SHAPE = {"depth": 2, "width": 32, "heads": 2, "max_length": 32, "dropout": 0.0}
DENOISING = Denoising(bart(**SHAPE), bart(**SHAPE, causal=True))

SHAPE_OF_ONE = {**SHAPE, "depth": 1}
ONE_LAYER = bart(**SHAPE_OF_ONE)
AUTOENCODER = Denoising(
    ONE_LAYER, bart(**SHAPE_OF_ONE, causal=True), bottleneck=4, infilling=0.0, permutation=False
)


def corrupted(objective, tokens):
    corrupt = jax.jit(lambda rows: objective.corrupt(Text(rows, VOCABULARY), jax.random.key(5)))
    return corrupt(jnp.asarray(tokens))


permuted = jax.jit(lambda key, rows: permute_sentences(key, rows, VOCABULARY))
deleted = jax.jit(lambda key, rows: delete_tokens(key, rows, VOCABULARY, 0.3))
infilled = jax.jit(lambda key, rows: infill(key, rows, VOCABULARY, 0.3, 3.0))
spans_of = jax.jit(partial(poisson_spans, rate=0.3, mean_span=3.0))


def pieces(row):
    """The documents of a row, from begin on."""
    found = []
    for token in row:
        if token == BEGIN:
            found.append([])
        if token != PAD:
            found[-1].append(int(token))
    return found


def sentences(document):
    """Its text, cut behind every token that ends a sentence."""
    found = [[]]
    for token in document[1:]:
        if token == END:
            break
        found[-1].append(token)
        if token % 7 == 0:
            found.append([])
    return [tuple(sentence) for sentence in found if sentence]


def test_sentences_change_places_within_their_document():
    tokens = tiny_rows(0, batch=64, sparse=True)
    tokens[40, 2] = UNKNOWN
    made = np.asarray(permuted(jax.random.key(0), jnp.asarray(tokens)))
    moved = 0
    for row in range(64):
        before, after = pieces(tokens[row]), pieces(made[row])
        assert len(before) == len(after)
        np.testing.assert_array_equal(made[row] == PAD, tokens[row] == PAD)
        for old, new in zip(before, after, strict=True):
            assert (new[0], new[-1] == END) == (BEGIN, old[-1] == END)
            rest = new[1:-1] if new[-1] == END else new[1:]
            for sentence in sorted(sentences(old), key=len, reverse=True):  # each is whole in it
                place = next(
                    i for i in range(len(rest)) if tuple(rest[i : i + len(sentence)]) == sentence
                )
                del rest[place : place + len(sentence)]
            assert not rest
            moved += old != new
    assert moved > 20


def test_every_order_of_three_sentences_is_equally_likely():
    row = [BEGIN, 8, 14, 9, 9, 14, 10, 14, END]
    tokens = np.tile(np.array(row, np.int32), (6000, 1))
    made = np.asarray(permuted(jax.random.key(1), jnp.asarray(tokens)))
    orders, counts = np.unique(made, axis=0, return_counts=True)
    assert len(orders) == 6
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000 * 5 / 6)


def test_a_share_of_the_tokens_is_deleted():
    tokens = tiny_rows(2, batch=64, sparse=True)
    made = np.asarray(deleted(jax.random.key(0), jnp.asarray(tokens)))
    for row in range(64):
        text = (tokens[row] >= FIRST).sum()
        assert (made[row] >= FIRST).sum() == text - max(1, int(0.3 * text + 0.5))
        for special in (BEGIN, END):
            assert (made[row] == special).sum() == (tokens[row] == special).sum()
        filled = (made[row] != PAD).sum()
        assert (made[row, :filled] != PAD).all()
        for old, new in zip(pieces(tokens[row]), pieces(made[row]), strict=True):
            rest = iter(old)
            assert all(token in rest for token in new)  # in order


def test_infilling_is_told_by_its_spans():
    """One mask for every run of a span and for every span of no length; kept tokens in order."""
    tokens = tiny_rows(3, batch=64, sparse=True)
    tokens[:8] = PAD
    tokens[:8, :20] = tokens[40, :20]  # room for inserted masks
    key, is_text = jax.random.key(5), jnp.asarray(tokens >= FIRST)
    number, empty = map(np.asarray, spans_of(key, is_text))
    made = np.asarray(infilled(key, jnp.asarray(tokens)))
    assert ((number >= 0) <= (tokens >= FIRST)).all()
    for row in range(64):
        text = (tokens[row] >= FIRST).sum()
        assert (number[row] >= 0).sum() == int(0.3 * text + 0.5)
        starts = np.diff(number[row], prepend=-1) != 0
        room = 32 - (tokens[row] != PAD).sum() + (number[row] >= 0).sum()
        room -= (starts & (number[row] >= 0)).sum()
        expected = []
        for place, token in enumerate(tokens[row]):
            inserted = min(empty[row, place], room)
            expected += [MASK] * inserted
            room -= inserted
            if number[row, place] < 0:
                expected += [token] if token != PAD else []
            elif place == 0 or number[row, place] != number[row, place - 1]:
                expected.append(MASK)
        expected += [PAD] * (32 - len(expected))
        np.testing.assert_array_equal(made[row], expected)


@pytest.mark.parametrize(
    "mean_span",
    [0.1, pytest.param(0.5, marks=pytest.mark.slow), pytest.param(1.0, marks=pytest.mark.slow)],
)
def test_short_spans_drop_no_token(mean_span):
    """Most spans have no token and insert a mask: full rows have no room for all of them."""
    tokens = tiny_rows(3, batch=16)
    made = np.asarray(infill(jax.random.key(5), jnp.asarray(tokens), VOCABULARY, 0.3, mean_span))
    for row, infilled_row in zip(tokens, made, strict=True):
        kept = [token for token in infilled_row if token not in (MASK, PAD)]
        left = iter(row.tolist())
        assert all(token in left for token in kept)  # in their order
        text = (row >= FIRST).sum()
        assert len(kept) == (row != PAD).sum() - int(0.3 * text + 0.5)
        assert kept.count(END) == (row == END).sum()
        assert kept.count(BEGIN) == (row == BEGIN).sum()


def test_rows_without_text():
    tokens = np.full((64, 32), PAD, np.int32)
    tokens[1, :2] = [BEGIN, END]
    for damage in (permuted, deleted, infilled):
        np.testing.assert_array_equal(damage(jax.random.key(0), jnp.asarray(tokens)), tokens)


@pytest.mark.parametrize("changes", [{"deletion": 0.2}, {"permutation": False, "infilling": 0.0}])
def test_the_whole_text_is_written(changes):
    objective = dataclasses.replace(DENOISING, bottleneck=2, **changes)
    tokens = tiny_rows(1, sparse=True)
    examples = jax.jit(lambda rows: objective.corrupt(Text(rows, VOCABULARY), jax.random.key(0)))(
        jnp.asarray(tokens)
    )
    np.testing.assert_array_equal(examples.written, tokens)
    targets = np.asarray(examples.targets)
    np.testing.assert_array_equal(targets[:, :-1], tokens[:, 1:])
    is_predicted = (targets != PAD) & (targets != BEGIN)
    np.testing.assert_array_equal(np.asarray(examples.weights) > 0, is_predicted)
    same = np.array_equal(examples.inputs, tokens)
    assert same == (objective.infilling == 0)
    segments = np.asarray(examples.segments)
    assert (segments.max(axis=1) == np.asarray(examples.written_segments).max(axis=1)).all()


@pytest.mark.slow
def test_the_bottleneck_is_all_that_the_decoder_sees(key):
    """The loss has no gradient by the encoder's states behind the first four of a document."""
    tokens = np.full((1, 32), PAD, np.int32)
    tokens[0, :12] = [BEGIN, *range(FIRST, FIRST + 11)]
    tokens[0, 12:28] = [BEGIN, *range(FIRST + 11, FIRST + 26)]
    objective = AUTOENCODER
    model, examples = objective.init(key, tiny_spec()), corrupted(objective, tokens)
    whole = type(model.encoder).__call__

    def loss(shift):
        type(model.encoder).__call__ = lambda *given, **more: whole(*given, **more) + shift
        try:
            return objective.loss(model, (), examples, None)[0]
        finally:
            type(model.encoder).__call__ = whole

    gradient = np.asarray(jax.jit(jax.grad(loss))(jnp.zeros((1, 32, 32))))
    seen = np.zeros((1, 32), bool)
    seen[0, :4] = seen[0, 12:16] = True
    assert (np.abs(gradient[seen]).max(axis=-1) > 0).all()
    assert not gradient[~seen].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["denoising", "autoencoder"])
def test_one_batch_is_learned(name):
    denoising = dataclasses.replace(
        DENOISING, encoder=ONE_LAYER, decoder=bart(**SHAPE_OF_ONE, causal=True), deletion=0.1
    )
    check_text_is_learned({"denoising": denoising, "autoencoder": AUTOENCODER}[name], tiny_spec())


def test_corruption_does_not_depend_on_devices():
    from jax.sharding import NamedSharding, PartitionSpec

    tokens = jnp.asarray(tiny_rows(batch=64))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(tokens, NamedSharding(mesh, PartitionSpec("data")))
    for damage in (permuted, deleted, infilled):
        one, many = damage(jax.random.key(3), tokens), damage(jax.random.key(3), sharded)
        np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"infilling": 1.0}, "infilling=1.0 must be at least 0 and below 1"),
        ({"deletion": -0.1}, "deletion=-0.1 must be at least 0"),
        ({"mean_span": 0.0}, "mean_span=0.0 must be above 0"),
        ({"bottleneck": 0}, "bottleneck=0 must be at least 1"),
        ({"infilling": 0.0, "permutation": False}, "would learn to copy"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(DENOISING, **changes)
