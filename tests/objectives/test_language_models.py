"""MaskedLM and CausalLM against the formula written out, and that packed documents never leak."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.recipes import bert, gpt2, modernbert
from jaxssl.objectives import CausalLM, MaskedLM, NextSentence, SentenceOrder
from jaxssl.objectives.batches.batch import Text, Vocabulary
from tests.tiny import BEGIN, FIRST, PAD, tiny_rows, tiny_spec

SPEC = tiny_spec()
VOCABULARY = Vocabulary.of(SPEC)
SHAPE = {"depth": 2, "width": 32, "heads": 2, "max_length": 32, "dropout": 0.0}
MASKED = MaskedLM(encoder=bert(**SHAPE), rate=0.3)
CAUSAL = CausalLM(decoder=gpt2(**SHAPE))


def examples_of(objective, seed=0, sparse=True):
    tokens = jnp.asarray(tiny_rows(seed, sparse=sparse))
    return objective.corrupt(Text(tokens, VOCABULARY), jax.random.key(seed + 5))


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_masked_lm_is_the_mean_over_hidden_tokens(key):
    model = MASKED.init(key, SPEC)
    examples = examples_of(MASKED)
    loss, (_, metrics) = jax.jit(MASKED.loss)(model, (), examples, None)
    states = np.asarray(model.encoder(examples.inputs, examples.segments))
    hidden = np.asarray(model.token_head(jnp.asarray(states)))
    table = np.asarray(model.encoder.tokens.embedding[...])
    logs = log_softmax(hidden @ table.T + np.asarray(model.output_bias[...]))
    nats, correct, text_bytes, count = 0.0, 0, 0, 0
    for row in range(8):
        for place, target, weight in zip(
            examples.positions[row], examples.targets[row], examples.weights[row], strict=True
        ):
            if weight > 0:
                nats -= logs[row, place, target]
                correct += logs[row, place].argmax() == target
                text_bytes += 1 + int(target) % 4
                count += 1
    np.testing.assert_allclose(loss, nats / count, rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"].total, correct, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"].weight, count, rtol=1e-6)
    ratio = metrics["bits_per_byte"]
    np.testing.assert_allclose(ratio.total / ratio.weight, nats / np.log(2) / text_bytes, rtol=1e-5)


def test_causal_lm_is_the_mean_over_following_tokens(key):
    model = CAUSAL.init(key, SPEC)
    examples = examples_of(CAUSAL)
    tokens = np.asarray(examples.inputs)
    loss, _ = jax.jit(CAUSAL.loss)(model, (), examples, None)
    states = np.asarray(model.decoder(examples.inputs, examples.segments))
    logs = log_softmax(states @ np.asarray(model.decoder.tokens.embedding[...]).T)
    nats = [
        -logs[row, place, tokens[row, place + 1]]
        for row in range(8)
        for place in range(31)
        if tokens[row, place + 1] not in (PAD, BEGIN)
    ]
    np.testing.assert_allclose(loss, np.mean(nats), rtol=1e-5)


@pytest.mark.parametrize("second_task", [None, NextSentence(), SentenceOrder()])
def test_weights_add_up_to_one(second_task):
    objective = dataclasses.replace(MASKED, second_task=second_task)
    examples = examples_of(objective)
    np.testing.assert_allclose(examples.weights.sum(), 1.0, rtol=1e-6)
    assert len(np.unique(examples.weights)) == 2  # uneven rows, yet every token counts the same
    if second_task is not None:
        np.testing.assert_allclose(examples.pair_weights.sum(), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    "objective",
    [
        MASKED,
        CAUSAL,
        MaskedLM(encoder=dataclasses.replace(modernbert(2, 32, 2), max_length=32, window=4)),
    ],
    ids=["bert", "gpt2", "modernbert"],
)
def test_one_documents_loss_has_no_gradient_by_another(objective, key, monkeypatch):
    """The Jacobian of the first document's loss by the second one's embeddings is exactly zero."""
    tokens = np.full((1, 32), PAD, np.int32)
    tokens[0, :12] = [BEGIN, *range(FIRST, FIRST + 11)]
    tokens[0, 12:28] = [BEGIN, *range(FIRST + 11, FIRST + 26)]  # no token in both
    model = objective.init(key, SPEC)
    examples = objective.corrupt(Text(jnp.asarray(tokens), VOCABULARY), jax.random.key(1))
    places = examples.positions if hasattr(examples, "positions") else jnp.arange(32)[None]
    first_only = examples._replace(weights=jnp.where(places < 11, examples.weights, 0.0))
    network = "encoder" if hasattr(model, "encoder") else "decoder"

    # The table is the head as well, so the states of the second document are put in behind it.
    table = getattr(model, network).tokens
    look_up = type(table).__call__

    def loss(second):
        def patched(module, ids, *axis):
            rows = look_up(module, ids, *axis)
            return rows.at[0, 12:28].set(second) if module is table else rows

        monkeypatch.setattr(type(table), "__call__", patched)
        return objective.loss(model, (), first_only, None)[0]

    second = look_up(table, examples.inputs)[0, 12:28]
    gradient = jax.grad(loss)(second)
    assert float(loss(second)) > 0
    assert not np.asarray(gradient).any()


def test_rows_longer_than_the_model_are_refused(key):
    long = tiny_spec(length=64)
    for objective in (MASKED, CAUSAL):
        with pytest.raises(InputError, match="rows of 64 tokens exceed max_length 32"):
            objective.init(key, long)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"rate": 1.5}, "rate=1.5 must lie between"),
        ({"shares": (0.5, 0.1, 0.1)}, "add up to 1"),
        ({"masking": "letters"}, "use tokens, words or spans"),
        ({"encoder": gpt2(**SHAPE)}, "both sides"),
        ({"encoder": modernbert(2, 32, 2), "second_task": NextSentence()}, "segment_types=2"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(MASKED, **changes)
    with pytest.raises(InputError, match="must not see"):
        CausalLM(decoder=bert(**SHAPE))
