"""Which tokens are masked, and how the predictions of a masked language model are shown."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.data.rows import Rows
from jaxssl.models.recipes import bert
from jaxssl.objectives import MaskedLM
from jaxssl.pretrained import masked_predictions
from jaxssl.pretrained.masked_predictions import show_predictions
from tests.tiny import BEGIN, END, MASK, PAD, tiny_spec

OBJECTIVE = MaskedLM(encoder=bert(1, 16, 2, max_length=32))


@pytest.fixture(scope="module")
def held_out(word_rows):
    return Rows(word_rows, batch=8).open("valid", seed=0, shuffle=False)


@pytest.fixture(scope="module")
def model(held_out):
    return jax.jit(lambda key: OBJECTIVE.init(key, held_out.spec))(jax.random.key(0))


def test_the_most_probable_tokens_come_first(model, held_out):
    """A bias towards one token makes it the first prediction of every row, with nearly all probability."""
    favourite = held_out.tokenizer.encode(["bat"])[0][0]
    certain = jax.tree.map(lambda leaf: leaf, model)
    certain.output_bias[...] = jnp.zeros(held_out.spec.vocab_size).at[favourite].set(50.0)
    shown = show_predictions(certain, held_out, sentences=3, count=2)
    texts, answers, predictions = (shown.splitlines()[start::3] for start in range(3))
    assert len(texts) == len(answers) == len(predictions) == 3
    rows = [" ".join(held_out.tokenizer.decode(row).split()) for row in held_out.batch(0)["tokens"]]
    for text, answer, prediction in zip(texts, answers, predictions, strict=True):
        before, after = text.removeprefix("… ").removesuffix(" …").split(" [____] ")
        word = answer.removeprefix("    is: ")
        assert any(f"{before} {word} {after}" in row for row in rows)
        parts = prediction.removeprefix("    predicted: ").split("  ")
        assert len(parts) == 2
        assert parts[0] == "bat 100%"
    assert shown == show_predictions(certain, held_out, sentences=3, count=2)
    assert shown != show_predictions(certain, held_out, sentences=3, count=2, seed=1)


def test_rows_without_a_word(model, held_out):
    spec = held_out.spec
    empty = SimpleNamespace(
        spec=spec,
        batch=lambda number: {"tokens": np.full((8, 32), spec.pad, np.int32)},
    )
    assert show_predictions(model, empty) == "no held-out row has a word to mask"


def test_masked_tokens_are_whole_words():
    """Ids divisible by three continue a word; id t stands for 1 + t % 4 bytes, of which one is the space."""
    spec = tiny_spec()
    row = np.full(20, 10, np.int32)  # whole words of 3 bytes: too short
    row[[2, 7, 8, 10, 12, 17]] = [11, 11, MASK, 11, 11, 11]  # of 4 bytes, and a special token
    row[13] = 15  # continues the word before it
    assert masked_predictions._whole_words(row, spec).tolist() == [7, 10]


def test_the_context_ends_with_the_document():
    spec = tiny_spec()
    row = np.array([BEGIN, 5, 6, END, BEGIN, 7, 8, 9, 10, END, PAD, PAD])
    before, after = masked_predictions._context(row, 7, spec)
    assert (before.tolist(), after.tolist()) == ([7, 8], [10])
    long = np.arange(5, 65)
    before, after = masked_predictions._context(long, 30, spec)
    assert before.tolist() == long[12:30].tolist()
    assert after.tolist() == long[31:49].tolist()
