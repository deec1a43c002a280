"""Masked LM against the formula written out; packed documents never leak; guesses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.recipes import bert, gpt2, modernbert
from jaxssl.objectives import MaskedLM, NextSentence, SentenceOrder
from jaxssl.objectives.masked_lm import guess
from tests.objectives.learned_by_heart import check_learned
from tests.objectives.tiny_texts import (
    SHAPE,
    SPEC,
    VOCABULARY,
    examples_of,
    gradient_by_another_document,
    log_softmax,
)
from tests.tiny import FIRST, MASK, tiny_rows, tiny_spec

MASKED = MaskedLM(encoder=bert(**SHAPE), rate=0.3)
LOCAL = MaskedLM(encoder=dataclasses.replace(modernbert(2, 32, 2), max_length=32, window=4))


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
    assert metrics["hidden"].total == pytest.approx(count)
    assert metrics["hidden"].weight == examples.candidates.sum()
    ratio = metrics["bits_per_byte"]
    np.testing.assert_allclose(ratio.total / ratio.weight, nats / np.log(2) / text_bytes, rtol=1e-5)


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
    [pytest.param(MASKED, id="bert"), pytest.param(LOCAL, id="modernbert")],
)
@pytest.mark.slow
def test_one_documents_loss_has_no_gradient_by_another(objective, key, monkeypatch):
    """The Jacobian of the first document's loss by the second one's embeddings is exactly zero."""
    loss, gradient = gradient_by_another_document(objective, key, monkeypatch)
    assert loss > 0
    assert not gradient.any()


@pytest.mark.slow
@pytest.mark.parametrize(("task", "last"), [(None, 0.1), (NextSentence(), 0.2)])
def test_one_batch_is_learned_by_heart(task, last):
    network = bert(depth=1, width=32, heads=2, max_length=32, dropout=0.0)
    check_learned(MaskedLM(network, second_task=task), tiny_spec(batch=8), 80, 3.5, last)


def test_guesses_are_the_most_probable_ordinary_tokens(key):
    model = MASKED.init(key, SPEC)
    tokens = tiny_rows()
    tokens[:, 3] = MASK
    found = guess(model, jnp.asarray(tokens), VOCABULARY, jnp.full(8, 3), count=4)
    shares, ids = (np.asarray(part) for part in found)
    assert shares.shape == ids.shape == (8, 4)
    assert (np.diff(shares, axis=1) <= 0).all()
    assert (ids >= FIRST).all()
    everything = guess(model, jnp.asarray(tokens), VOCABULARY, jnp.full(8, 3), count=45)[0]
    np.testing.assert_allclose(everything.sum(axis=1), 1.0, rtol=1e-5)


def test_rows_longer_than_the_model_are_refused(key):
    with pytest.raises(InputError, match="rows of 64 tokens exceed max_length 32"):
        MASKED.init(key, tiny_spec(length=64))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"rate": 1.5}, "rate=1.5 must be above 0 and below 1"),
        ({"shares": (0.5, 0.1, 0.1)}, "add up to 1"),
        ({"masking": "letters"}, "use tokens, words or spans"),
        ({"encoder": gpt2(**SHAPE)}, "both sides"),
        ({"encoder": modernbert(2, 32, 2), "second_task": NextSentence()}, "segment_types=2"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(MASKED, **changes)
