"""Word vectors: pairs and losses counted by hand, the statistics of what is drawn, what is learned."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.errors import InputError
from jaxssl.objectives import WordVectors
from jaxssl.objectives.batches.batch import Text, Vocabulary
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.step import create_state, make_step
from tests.objectives.learned_by_heart import check_learned
from tests.tiny import BEGIN, END, FIRST, PAD, tiny_rows, tiny_spec

SPEC = tiny_spec(batch=16)
SPEC.frequency = np.where(SPEC.special, 0, 1.0 / (1 + np.arange(50)))
SPEC.frequency /= SPEC.frequency.sum()
VOCABULARY = Vocabulary.of(SPEC, counted=True)
SKIP_GRAM = WordVectors(width=8, window=3, negatives=4, subsample=1.0)
CBOW = dataclasses.replace(SKIP_GRAM, model="cbow")


def softplus(x):
    return np.log1p(np.exp(x))


@pytest.mark.parametrize("objective", [SKIP_GRAM, CBOW], ids=["skip_gram", "cbow"])
def test_is_the_formula_over_all_pairs(objective, key):
    model = objective.init(key, SPEC)
    first, second = jax.random.normal(key, (2, 50, 8))
    model.words.embedding[...], model.contexts.embedding[...] = first, second
    rows = tiny_rows(1, batch=16, sparse=True)
    examples = jax.jit(objective.corrupt)(Text(jnp.asarray(rows), VOCABULARY), key)
    loss, (_, metrics) = jax.jit(objective.loss)(model, (), examples, None)
    v, u, found = np.asarray(first, float), np.asarray(second, float), []
    tokens, near, negatives = (np.asarray(x) for x in examples[:3])
    for row in range(16):
        words = [t for t in rows[row] if t >= FIRST]
        document = np.cumsum(rows[row] == BEGIN)[rows[row] >= FIRST]
        assert tokens[row, : len(words)].tolist() == words  # nothing is dropped, specials are
        for place, word in enumerate(words):
            offsets = [o for o, w in zip(objective.offsets, near[row, place], strict=True) if w > 0]
            assert offsets == sorted(offsets)
            reach = max(map(abs, offsets), default=0)
            meant = [
                o
                for o in objective.offsets
                if abs(o) <= reach
                and 0 <= place + o < len(words)
                and document[place + o] == document[place]
            ]
            assert offsets == meant  # all of the window, none of another document
            others = u[negatives[row, place]]
            neighbours = [words[place + o] for o in offsets]
            if objective.model == "skip_gram":
                against = softplus(others @ v[word]).sum()
                found += [softplus(-v[word] @ u[n]) + against for n in neighbours]
            elif neighbours:
                mean = v[neighbours].mean(axis=0)
                found.append(softplus(-mean @ u[word]) + softplus(others @ mean).sum())
    np.testing.assert_allclose(loss, np.mean(found), rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"].weight, len(found), rtol=1e-5)
    np.testing.assert_allclose(metrics["kept"].total, metrics["kept"].weight)


def test_words_without_frequency_are_never_drawn(key):
    """Special tokens are no negatives, also where all words are equally likely (power 0)."""
    objective = dataclasses.replace(SKIP_GRAM, power=0.0)
    rows = jnp.asarray(tiny_rows(1, batch=16))
    drawn = np.asarray(jax.jit(objective.corrupt)(Text(rows, VOCABULARY), key).negatives)
    assert not SPEC.special[drawn].any()
    assert set(drawn.ravel()) == set(np.flatnonzero(~SPEC.special))


def test_words_are_dropped_and_drawn_as_the_paper_says(key):
    """Kept with sqrt(t / f); windows of equally likely reach; negatives as f^0.75."""
    objective = dataclasses.replace(SKIP_GRAM, subsample=0.01)
    random = np.random.default_rng(0)
    rows = np.full((256, 64), BEGIN, np.int32)
    rows[:, 1:] = random.choice(50, size=(256, 63), p=SPEC.frequency)
    examples = jax.jit(objective.corrupt)(Text(jnp.asarray(rows), VOCABULARY), key)
    kept = np.bincount(
        np.concatenate(
            [
                np.asarray(tokens)[: int(count)]
                for tokens, count in zip(examples.tokens, examples.kept, strict=True)
            ]
        ),
        minlength=50,
    )
    read = np.bincount(rows.ravel(), minlength=50)
    chance = np.minimum(np.sqrt(0.01 / SPEC.frequency[FIRST:]), 1.0)
    wanted = chance * read[FIRST:]
    deviation = np.sqrt(wanted * (1 - chance) + 1e-9)
    assert np.abs((kept[FIRST:] - wanted) / (deviation + 0.5)).max() < 4
    drawn = np.bincount(np.asarray(examples.negatives).ravel(), minlength=50)
    powers = SPEC.frequency**0.75
    wanted = powers / powers.sum() * drawn.sum()
    assert not drawn[:FIRST].any()
    assert np.abs(drawn - wanted)[FIRST:].max() < 4 * np.sqrt(wanted.max())
    inner = np.asarray(examples.near)[:, 5:15] > 0
    inner = inner[(np.asarray(examples.kept) > 20)]
    forward = inner[..., 3:].mean(axis=(0, 1))  # 1, 2, 3 places on
    np.testing.assert_allclose(forward, [1, 2 / 3, 1 / 3], atol=0.04)


def topics(batch, seed):
    """Rows of words that occur together: three topics of fifteen words."""
    random = np.random.default_rng(seed)
    rows = np.full((batch, 32), PAD, np.int32)
    for row in rows:
        topic = random.integers(3)
        row[:31] = [BEGIN, *random.integers(FIRST + 15 * topic, FIRST + 15 * (topic + 1), 29), END]
    return rows


@pytest.mark.parametrize("model", ["skip_gram", "cbow"])
def test_words_of_a_topic_lie_together(model):
    objective = WordVectors(width=8, window=3, negatives=4, subsample=1.0, model=model)
    spec = tiny_spec(batch=16)
    run = SimpleNamespace(objective=objective, steps=100, seed=0, average=None, microbatches=2)
    run.compiler_options, run.gradient_sums = None, "computed"
    mesh, optimizer = Mesh().make(jax.devices()[:1]), optax.adam(0.02)
    state = create_state(run, optimizer, spec, mesh)
    step = make_step(run, optimizer, spec, mesh)
    for number in range(60):
        state, metrics = step(state, {"tokens": topics(16, number)})
    table = np.asarray(state.model.words.embedding[...])[FIRST:]
    table = table / np.linalg.norm(table, axis=1, keepdims=True)
    cosines = table @ table.T - 2 * np.eye(45)
    right = cosines.argmax(axis=1) // 15 == np.arange(45) // 15
    assert right.mean() > 0.95, right.mean()
    assert float(metrics["loss"].total / metrics["loss"].weight) < 2.9  # 5 ln 2 = 3.47 at first


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": "glove"}, "use skip_gram or cbow"),
        ({"window": 0}, "window=0 must be at least 1"),
        ({"subsample": 0.0}, "subsample=0.0 must be above 0"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(SKIP_GRAM, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["skip_gram", "cbow"])
def test_one_batch_is_learned_by_heart(model):
    """Most words occur once: nothing contradicts what is learned."""
    rare = tiny_spec(batch=4, length=16, vocab_size=2000)
    check_learned(WordVectors(16, model=model, subsample=1.0), rare, 80, 4.0, 0.1)
