"""The loss of objectives on an encoder-decoder: the formula, and that no document sees another."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.data.labelled.example_batches import LabelledSpec
from jaxssl.errors import InputError
from jaxssl.models.encoder_decoder import Memory
from jaxssl.models.recipes import bart, t5
from jaxssl.objectives import Denoising, SpanCorruption
from jaxssl.objectives.batches.batch import Text, Vocabulary
from jaxssl.tasks.classify import Classify, network_and_pooler
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
    decoder = dataclasses.replace(T5[1], max_length=64)
    objective = dataclasses.replace(OBJECTIVES["spans"], decoder=decoder, rate=0.4, mean_span=1.5)
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


def test_networks_that_do_not_fit(key):
    objective = OBJECTIVES["denoising"]
    short = dataclasses.replace(objective.decoder, max_length=16)
    with pytest.raises(InputError, match="exceed max_length 16 of the decoder"):
        dataclasses.replace(objective, decoder=short).init(key, SPEC)
    with pytest.raises(InputError, match="set encoder.causal to False and decoder.causal to True"):
        dataclasses.replace(objective, encoder=objective.decoder).init(key, SPEC)
