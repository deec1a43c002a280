"""Objectives on an encoder-decoder, and the prefix LM: the formula, nothing leaks, a batch is learned."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.data.labelled.example_batches import LabelledSpec
from jaxssl.errors import InputError
from jaxssl.models.encoder_decoder import Memory
from jaxssl.models.recipes import bart, gpt2, t5
from jaxssl.objectives import CausalLM, Denoising, SpanCorruption
from jaxssl.objectives.batches.batch import Text, Vocabulary
from jaxssl.objectives.causal_lm import random_prefix
from jaxssl.sharding.mesh import Mesh
from jaxssl.tasks.classify import Classify, network_and_pooler
from jaxssl.training.step import create_state, make_step
from tests.tiny import BEGIN, FIRST, PAD, tiny_rows, tiny_spec

SPEC = tiny_spec()
VOCABULARY = Vocabulary.of(SPEC)
SHAPE = {"depth": 1, "width": 32, "heads": 2, "max_length": 32, "dropout": 0.0}
T5, BART = ((half(**SHAPE), half(**SHAPE, causal=True)) for half in (t5, bart))
NOTHING = {"infilling": 0.0, "permutation": False}
OBJECTIVES = {
    "spans": SpanCorruption(*T5, documents=8, sentinels=14),
    "denoising": Denoising(*BART, deletion=0.1),
    "autoencoder": Denoising(*BART, bottleneck=4, **NOTHING),
}
PREFIX = CausalLM(gpt2(**SHAPE), prefix=True)


def examples_of(objective, tokens=None):
    tokens = tiny_rows(sparse=True) if tokens is None else tokens
    corrupt = jax.jit(lambda rows: objective.corrupt(Text(rows, VOCABULARY), jax.random.key(5)))
    return corrupt(jnp.asarray(tokens))


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@pytest.fixture(scope="module")
def spans():
    """The objective of spans, a model, examples, and its compiled loss."""
    objective = dataclasses.replace(OBJECTIVES["spans"], rate=0.4, mean_span=1.5)
    model = objective.init(jax.random.key(0), SPEC)
    compiled = jax.jit(lambda model, examples: objective.loss(model, (), examples, None))
    return model, examples_of(objective), compiled


def test_the_loss_is_the_mean_over_written_tokens(spans):
    model, examples, loss_of = spans
    assert model.encoder.tokens.embedding.shape == (64, 32)  # with a row for every sentinel

    @jax.jit
    def states_of(model):
        memory = Memory(model.encoder(examples.inputs, examples.segments), examples.segments)
        return model.decode(examples.written, examples.written_segments, memory)

    loss, (_, metrics) = loss_of(model, examples)
    table = np.asarray(model.encoder.tokens.embedding[...])
    logs = log_softmax(np.asarray(states_of(model)) @ table.T)
    written = np.asarray(examples.written)
    places = [
        (row, place)
        for row, place in np.ndindex(8, written.shape[1] - 1)
        if written[row, place + 1] not in (PAD, BEGIN)
    ]
    nats = [-logs[row, place, written[row, place + 1]] for row, place in places]
    np.testing.assert_allclose(loss, np.mean(nats), rtol=1e-5)
    assert float(metrics["loss"].weight) == len(places)
    hidden = metrics["hidden"]
    assert float(hidden.total) == sum(FIRST <= written[r, p + 1] < 50 for r, p in places)
    assert 0.35 < hidden.total / hidden.weight < 0.45


def test_one_documents_loss_does_not_know_the_others(spans):
    """Other tokens in all but the first written document of a row change nothing at all."""
    model, examples, loss_of = spans
    written = np.asarray(examples.written_segments)
    first = np.array([min(set(row) - {0}, default=-1) for row in written])[:, None]
    mine = examples._replace(weights=jnp.where(written == first, examples.weights, 0.0))
    assert (written > first).any()

    def other(tokens, segments, chosen):
        return jnp.where(chosen & (segments > 0) & (tokens >= FIRST), 7, tokens)

    exact = float(loss_of(model, mine)[0])
    inputs, segments = examples.inputs, np.asarray(examples.segments)
    changed = mine._replace(
        inputs=other(inputs, segments, segments != first),
        written=other(examples.written, written, written != first),
    )
    assert float(loss_of(model, changed)[0]) == exact > 0
    changed = mine._replace(inputs=other(inputs, segments, segments == first))
    assert float(loss_of(model, changed)[0]) != exact


def test_the_bottleneck_is_all_that_the_decoder_sees(key):
    """The loss has no gradient by the encoder's states behind the first four of a document."""
    tokens = np.full((1, 32), PAD, np.int32)
    tokens[0, :12] = [BEGIN, *range(FIRST, FIRST + 11)]
    tokens[0, 12:28] = [BEGIN, *range(FIRST + 11, FIRST + 26)]
    objective = OBJECTIVES["autoencoder"]
    model, examples = objective.init(key, SPEC), examples_of(objective, tokens)
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


def test_a_prefix_is_seen_and_not_predicted(key):
    model, examples = PREFIX.init(key, SPEC), examples_of(PREFIX)
    prefix, segments = np.asarray(examples.prefix), np.asarray(examples.segments)
    predicted = np.asarray(examples.weights) > 0
    for row in range(8):
        for number in range(1, segments[row].max() + 1):
            places = np.flatnonzero(segments[row] == number)
            size = prefix[row, places].sum()
            assert 1 <= size < len(places)
            assert prefix[row, places[:size]].all()
            expected = np.r_[[False] * (size - 1), [True] * (len(places) - size), [False]]
            np.testing.assert_array_equal(predicted[row, places], expected)
    states = jax.jit(lambda rows: model.decoder(rows, examples.segments, prefix=examples.prefix))
    exact = np.asarray(states(examples.inputs))
    row, cut = next(
        (r, np.flatnonzero(predicted[r])[0]) for r in range(8) if predicted[r, 3:].any()
    )
    assert row >= 0
    changed = examples.inputs.at[:, 2].set(9)  # a place of the text
    moved = np.abs(np.asarray(states(changed)) - exact).max(axis=-1) > 0
    for row in range(8):
        same = segments[row] == segments[row, 2]
        sees = same & (prefix[row, 2] | (np.arange(32) >= 2))
        if examples.inputs[row, 2] != 9:
            np.testing.assert_array_equal(moved[row], sees)


def test_every_size_of_a_prefix_is_equally_likely():
    segments = jnp.tile(jnp.array([[1] * 5 + [0] * 3]), (4000, 1))
    sizes = np.asarray(random_prefix(jax.random.key(0), segments)).sum(axis=1)
    counts = np.bincount(sizes, minlength=6)
    assert counts[0] == counts[5] == 0
    assert np.abs(counts[1:5] - 1000).max() < 5 * np.sqrt(1000 * 3 / 4)


@pytest.mark.parametrize("name", [*OBJECTIVES, "prefix"])
def test_overfits_one_batch(name):
    """The corruption is drawn anew at every step: what is learned is the text, by heart."""
    objective = {**OBJECTIVES, "prefix": PREFIX}[name]
    mesh = Mesh().make(jax.devices()[:1])
    run = SimpleNamespace(objective=objective, seed=0, average=None, microbatches=1)
    optimizer = optax.adam(5e-3)
    state = create_state(run, optimizer, SPEC, mesh)
    step = make_step(run, optimizer, SPEC, mesh)
    rows, losses = jnp.asarray(tiny_rows(batch=8)), []
    for _ in range(200):
        state, metrics = step(state, {"tokens": rows})
        losses.append(float(metrics["loss"].total / metrics["loss"].weight))
    assert losses[0] > 3.5
    assert np.mean(losses[-10:]) < 1.0


def test_finetuning_takes_the_encoder():
    objective = OBJECTIVES["spans"]
    pretrained = objective.init(jax.random.key(7), SPEC)
    labelled = LabelledSpec(16, (12, 24), classes=2, vocab_size=50, pad=0, begin=2, end=3)
    model = Classify().init(
        jax.random.key(1), objective.encoder, labelled, network_and_pooler(objective, pretrained)
    )
    np.testing.assert_array_equal(
        model.encoder.tokens.embedding[...], pretrained.encoder.tokens.embedding[...][:50]
    )
    for ours, theirs in zip(
        jax.tree.leaves(model.encoder.layers),
        jax.tree.leaves(pretrained.encoder.layers),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    # A prefix LM reads all of a text from both sides.
    config = PREFIX.finetuning_config(PREFIX.init(jax.random.key(7), SPEC))
    assert not config.causal
    assert Classify().network(config) == config


def test_networks_that_do_not_fit(key):
    objective = OBJECTIVES["denoising"]
    short = dataclasses.replace(objective.decoder, max_length=16)
    with pytest.raises(InputError, match="exceed max_length 16 of the decoder"):
        dataclasses.replace(objective, decoder=short).init(key, SPEC)
    with pytest.raises(InputError, match="set False and True"):
        dataclasses.replace(objective, encoder=objective.decoder).init(key, SPEC)
