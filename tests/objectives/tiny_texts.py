"""What tests of objectives on text share: tiny rows, a softmax, and whether a document sees another."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.objectives.batches.batch import Text, Vocabulary
from tests.tiny import BEGIN, FIRST, PAD, tiny_rows, tiny_spec

SPEC = tiny_spec()
VOCABULARY = Vocabulary.of(SPEC)
SHAPE = {"depth": 2, "width": 32, "heads": 2, "max_length": 32, "dropout": 0.0}


def examples_of(objective, seed=0, sparse=True):
    """Examples of eight rows, of which sparse ones are filled unevenly."""
    tokens = jnp.asarray(tiny_rows(seed, sparse=sparse))
    return objective.corrupt(Text(tokens, VOCABULARY), jax.random.key(seed + 5))


def log_softmax(logits):
    """Logarithms of the softmax, in numpy."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def gradient_by_another_document(objective, key, monkeypatch):
    """The loss of a row's first document, and its gradient by the embeddings of the second one."""
    tokens = np.full((1, 32), PAD, np.int32)
    tokens[0, :12] = [BEGIN, *range(FIRST, FIRST + 11)]
    tokens[0, 12:28] = [BEGIN, *range(FIRST + 11, FIRST + 26)]  # no token in both
    model = objective.init(key, SPEC)
    examples = objective.corrupt(Text(jnp.asarray(tokens), VOCABULARY), jax.random.key(1))
    places = getattr(examples, "positions", jnp.arange(32)[None])
    first_only = examples._replace(weights=jnp.where(places < 11, examples.weights, 0.0))
    # The table is the head as well, so the states of the second document are put in behind it.
    table = objective.network(model).tokens
    look_up = type(table).__call__

    def loss(second):
        def patched(module, ids, *axis):
            rows = look_up(module, ids, *axis)
            return rows.at[0, 12:28].set(second) if module is table else rows

        monkeypatch.setattr(type(table), "__call__", patched)
        return objective.loss(model, (), first_only, None)[0]

    second = look_up(table, examples.inputs)[0, 12:28]
    return float(loss(second)), np.asarray(jax.grad(loss)(second))
