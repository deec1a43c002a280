"""A finetuned model made by hand: what it takes, and how often it compiles."""

import jax
import numpy as np
import pytest

from jaxssl.data.labelled.example_batches import LabelledSpec
from jaxssl.data.labelled.tables import Labelled
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from jaxssl.finetuning.finetuned import Finetuned
from jaxssl.finetuning.setup import Finetuning
from jaxssl.models.recipes import bert
from jaxssl.tasks.classify import Classify
from tests.data.tiny_corpus import SPECIALS, WORDS


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    vocabulary = tmp_path_factory.mktemp("words") / "vocab.txt"
    vocabulary.write_text("\n".join([*SPECIALS, *WORDS]) + "\n", encoding="utf-8")
    tokenizer = load_tokenizer(vocabulary)
    network = bert(depth=1, width=16, heads=2, max_length=32)
    config = Finetuning(Labelled("train.tsv"), Classify())
    spec = LabelledSpec.of(tokenizer, batch=1, lengths=(8, 32), classes=3)
    model = jax.jit(lambda key: config.task.init(key, network, spec))(jax.random.key(0))
    return Finetuned(config, network, tokenizer, ("a", "b", "c"), (8, 32), 0, 1, model)


def test_predict_compiles_once_for_each_shape(finetuned, monkeypatch):
    traced, logits = [], Classify.logits

    def counted(task, model, tokens, sizes, key=None):
        traced.append(tokens.shape)
        return logits(task, model, tokens, sizes, key)

    monkeypatch.setattr(Classify, "logits", counted)
    texts = [" ".join(WORDS[i : i + 3]) for i in range(40)]
    for number in (3, 3, 4, 1, 1, 40, 33, 3):
        assert len(finetuned.predict(texts[:number])) == number
    assert sorted(traced) == [(1, 8), (4, 8), (64, 8)]
    both = [finetuned.log_probabilities(part) for part in (texts, texts[:3])]
    np.testing.assert_allclose(both[0][:3], both[1], atol=1e-5)


@pytest.mark.parametrize(
    ("texts", "message"),
    [("a gripping film", "texts is a single string"), (["a", "\ud83d"], "half a character")],
)
def test_what_is_no_list_of_texts(finetuned, texts, message):
    with pytest.raises(InputError, match=message):
        finetuned.predict(texts)


def test_a_byte_order_mark_changes_nothing(finetuned):
    text = " ".join(WORDS[:3])
    one, other = finetuned.log_probabilities([text, f"\ufeff{text}"])
    np.testing.assert_array_equal(one, other)
