"""Objectives learn one batch by heart: what is drawn once falls to nearly nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.models.recipes import bert
from jaxssl.objectives import MaskedLM, SimCSE, WordVectors
from jaxssl.objectives.batch import Text, Vocabulary
from jaxssl.objectives.sentence_pairs import NextSentence
from tests.tiny import tiny_rows, tiny_spec

SHAPE = {"depth": 1, "width": 32, "heads": 2, "max_length": 32}
RARE = tiny_spec(batch=4, length=16, vocab_size=2000)  # most words stand once: nothing contradicts
EVEN = tiny_spec(batch=8)
CASES = {  # objective, its rows, steps, the first loss is above, the last below
    "masked": (MaskedLM(bert(**SHAPE, dropout=0.0)), EVEN, 80, 3.5, 0.1),
    "pairs": (MaskedLM(bert(**SHAPE, dropout=0.0), second_task=NextSentence()), EVEN, 80, 3.5, 0.2),
    "simcse": (SimCSE(bert(**SHAPE, dropout=0.3), pooling="mean"), EVEN, 80, 1.5, 0.1),
    "skip_gram": (WordVectors(16, subsample=1.0), RARE, 80, 4.0, 0.1),
    "cbow": (WordVectors(16, model="cbow", subsample=1.0), RARE, 80, 4.0, 0.1),
}


@pytest.mark.parametrize("name", CASES)
def test_one_batch_is_learned_by_heart(name):
    objective, spec, steps, first, last = CASES[name]
    rows = jnp.asarray(tiny_rows(1, spec.batch, spec.length, spec.vocab_size))
    vocabulary = Vocabulary.of(spec, counted=True)
    model = objective.init(jax.random.key(0), spec)
    examples = objective.corrupt(Text(rows, vocabulary), jax.random.key(1))
    optimizer = optax.adam(1e-2)

    @jax.jit
    def learn(model, moments, key):
        gradients, (_, metrics) = jax.grad(objective.loss, has_aux=True)(model, (), examples, key)
        updates, moments = optimizer.update(gradients, moments)
        return optax.apply_updates(model, updates), moments, metrics["loss"]

    moments, losses = optimizer.init(model), []
    for step in range(steps):
        model, moments, loss = learn(model, moments, jax.random.key(step))
        losses.append(loss.number())
    assert losses[0] > first
    assert np.mean(losses[-10:]) < last
