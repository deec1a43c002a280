"""Causal LM and prefix LM against the formula written out; packed documents never leak."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.recipes import bert, gpt2
from jaxssl.objectives import CausalLM
from jaxssl.objectives.causal_lm import random_prefix
from jaxssl.tasks.classify import Classify
from tests.objectives.learned_by_heart import check_text_is_learned
from tests.objectives.tiny_texts import (
    SHAPE,
    SPEC,
    examples_of,
    gradient_by_another_document,
    log_softmax,
)
from tests.tiny import BEGIN, PAD, tiny_spec

CAUSAL = CausalLM(decoder=gpt2(**SHAPE))
PREFIX = CausalLM(gpt2(**{**SHAPE, "depth": 1}), prefix=True)


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


@pytest.mark.slow
def test_one_documents_loss_has_no_gradient_by_another(key, monkeypatch):
    """The Jacobian of the first document's loss by the second one's embeddings is exactly zero."""
    loss, gradient = gradient_by_another_document(CAUSAL, key, monkeypatch)
    assert loss > 0
    assert not gradient.any()


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


@pytest.mark.slow
def test_a_prefix_lm_learns_one_batch():
    check_text_is_learned(PREFIX, SPEC)


def test_finetuning_reads_all_of_a_text_from_both_sides():
    config = PREFIX.finetuning_config(PREFIX.init(jax.random.key(7), SPEC))
    assert not config.causal
    assert Classify().network(config) == config


def test_what_cannot_be_built(key):
    with pytest.raises(InputError, match="rows of 64 tokens exceed max_length 32"):
        CAUSAL.init(key, tiny_spec(length=64))
    with pytest.raises(InputError, match="must not see"):
        CausalLM(decoder=bert(**SHAPE))
    with pytest.raises(InputError, match="positions to 'rotary', or prefix to False"):
        CausalLM(gpt2(**{**SHAPE, "positions": "relative"}), prefix=True)
    with pytest.raises(InputError, match="embedding_width=16 is not the width 32"):
        CausalLM(decoder=gpt2(2, 32, 2, embedding_width=16))
