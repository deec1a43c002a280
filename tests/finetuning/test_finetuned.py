"""A finetuned model made by hand: what it takes, and how often it compiles."""

import json

import jax
import numpy as np
import pytest

from jaxssl.data.labelled.example_batches import LabelledSpec
from jaxssl.data.labelled.tables import Labelled
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from jaxssl.finetuning.finetuned import Finetuned, load_finetuned
from jaxssl.finetuning.results import read_result, summarise
from jaxssl.finetuning.setup import Finetuning
from jaxssl.models.recipes import bert
from jaxssl.runs.description import describe
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


@pytest.fixture
def folder(finetuned, tmp_path):
    """The folder of a finetuning of which no seed is finished."""
    finetuned.tokenizer.save(tmp_path / "tokenizer")
    described = describe(finetuned.config)
    for name in ("seeds", "report_every", "run"):
        described.pop(name)
    record = {
        "config": described,
        "network": describe(finetuned.network),
        "labels": ["a", "b", "c"],
        "lengths": [8, 32],
        "examples": "",
        "checkpoint": "",
    }
    (tmp_path / "finetuning.json").write_text(json.dumps(record), encoding="utf-8")
    return tmp_path


def test_a_whole_description_is_read(folder):
    with pytest.raises(InputError, match="no seed of .* is finished"):
        load_finetuned(folder)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", '{"config": {', '"x"', "\xff", "[" * 100_000, '{"config": NaN}'],
)
def test_a_damaged_description_is_told(folder, text):
    (folder / "finetuning.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="finetuning.json"):
        load_finetuned(folder)


MESH = {"class": "jaxssl.sharding.mesh:Mesh"}


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("config", [None, {}, "x", MESH]),
        ("network", [None, {}, "x", MESH]),
        ("labels", [[], None, ["a"], "ab", 5, ["a", "a"], ["a", 1]]),
        ("lengths", [[], None, [0], [-1], "x", [10**9], [32, 8], [64], [8.5]]),
    ],
)
def test_fields_of_other_types_are_told(folder, field, values):
    whole = json.loads((folder / "finetuning.json").read_text(encoding="utf-8"))
    changed = [{**whole, field: value} for value in values]
    for record in [*changed, {name: whole[name] for name in whole if name != field}]:
        (folder / "finetuning.json").write_text(json.dumps(record), encoding="utf-8")
        with pytest.raises(InputError, match=f"finetuning.json: .*{field}"):
            load_finetuned(folder)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", '{"seed": 0}', '{"seed": "0", "dev": {}}', '{"seed": 0, "dev": "x"}']
    + ['{"seed": 0, "dev": {"loss": "x"}}', '{"seed": 0, "dev": {}}'],
)
def test_a_damaged_result_is_told(folder, text):
    (folder / "seed-0").mkdir()
    (folder / "seed-0" / "result.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="result.json"):
        load_finetuned(folder)


def test_a_seed_without_a_checkpoint_or_of_another_kind(folder):
    (folder / "seed-x").mkdir()
    (folder / "seed-0").mkdir()
    result = {"seed": 0, "dev": {"accuracy": 0.5, "loss": None}}
    (folder / "seed-0" / "result.json").write_text(json.dumps(result), encoding="utf-8")
    assert read_result(folder / "seed-0") == result
    assert np.isnan(summarise([result], "accuracy")["mean"]["dev"]["loss"])
    with pytest.raises(InputError, match="no checkpoint"):
        load_finetuned(folder)
