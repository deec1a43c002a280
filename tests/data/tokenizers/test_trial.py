"""A tokenizer that ends its process, or never comes back, ends the trial and not the caller."""

import json

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from jaxssl.data.tokenizers import trial
from jaxssl.data.tokenizers.hugging_face_tokenizer import from_vocabulary
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.trial import check_tokenizer, try_definition
from jaxssl.errors import InputError


def bpe(vocabulary, merges) -> str:
    return json.dumps(
        {"model": {"type": "BPE", "vocab": vocabulary, "merges": merges}, "added_tokens": []}
    )


def test_one_that_works_is_tried_once(monkeypatch, tmp_path):
    tokenizer = tokenizers.Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"\s+"), "isolated")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path / "tokenizer.json").encode(["ab"])[0].tolist() == [2]
    monkeypatch.setattr(trial, "_problem", lambda definition: pytest.fail("tried again"))
    load_tokenizer(tmp_path / "tokenizer.json")


def test_one_that_ends_its_process_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text(bpe({"a": 0, "b": 1}, [["a", "b"]]))
    with pytest.raises(InputError, match="tokenizer.json makes its library fail") as caught:
        load_tokenizer(tmp_path / "tokenizer.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import time; time.sleep(60)", "it takes more than 0.5 seconds"),
        ("import os; print('why', file=__import__('sys').stderr, flush=True); os.abort()", "why"),
    ],
)
def test_one_that_hangs_or_dies_is_refused(tmp_path, monkeypatch, program, message):
    (tmp_path / "stuck.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(trial, "__name__", "stuck")
    monkeypatch.setattr(trial, "SECONDS", 0.5 if "sleep" in program else 30)
    with pytest.raises(InputError, match=message):
        try_definition("{}", "it")


def test_texts_are_encoded_and_decoded(monkeypatch):
    tokenizer = from_vocabulary("[UNK]\nthe")
    assert check_tokenizer(tokenizer) == ""
    monkeypatch.setattr(tokenizer, "decode", lambda ids: 1 / 0)
    assert check_tokenizer(tokenizer) == "cannot encode and decode a text: division by zero"
    monkeypatch.setattr(type(tokenizer), "vocab_size", 1)
    assert "gives ids outside of its vocabulary of 1" in check_tokenizer(tokenizer, ["the"])
