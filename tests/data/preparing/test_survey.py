"""The first reading: counts, the split, a tokenizer of the training texts alone, and early refusals."""

import io

import pytest

from jaxssl.data.preparing import survey as survey_module
from jaxssl.data.preparing.survey import divide, read_survey, survey_sources
from jaxssl.data.progress import TextProgress
from jaxssl.data.sources.texts import Document, source_from_path
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece
from jaxssl.errors import InputError
from tests.data.tiny_corpus import Words, write_vocabulary


def survey_of(folder, source, valid=0.2, tokenizer=None):
    report = TextProgress(silent=True)
    tokenizer = tokenizer or write_vocabulary(folder)
    return survey_sources(source, valid, tokenizer, folder / "partial", {"of": "this"}, report)


def test_what_is_there_is_counted_and_kept(tmp_path):
    assert read_survey(tmp_path) is None
    found = survey_of(tmp_path, Words(30))
    texts = [document.text for document in Words(30).documents()]
    assert (found.documents, found.bytes, found.skipped) == (30, sum(map(len, texts)), 0)
    assert found.config == {"of": "this"}
    assert read_survey(tmp_path / "partial") == found
    saved = load_tokenizer(tmp_path / "partial" / "tokenizer")
    assert saved.fingerprint == load_tokenizer(tmp_path / "vocab.txt").fingerprint


@pytest.mark.parametrize("valid", [0.3, Words(5, seed=1)])
def test_a_tokenizer_is_trained_on_what_is_not_held_out(tmp_path, monkeypatch, valid):
    seen = []

    def train(texts, config):
        seen.extend(text for _, text in zip(range(7), texts, strict=False))  # not to the end
        return load_tokenizer(write_vocabulary(tmp_path))

    monkeypatch.setattr(survey_module, "train_sentencepiece", train)
    found = survey_of(tmp_path, Words(30), valid, SentencePiece(300))
    divided = list(divide(Words(30), valid, found))
    assert seen == [document.text for split, document in divided if split == "train"][:7]
    assert found.documents == len(divided)  # what the tokenizer did not read was counted, too
    held_out = [document.name for split, document in divided if split == "valid"]
    assert 0 < len(held_out) < 30
    if not isinstance(valid, float):
        assert held_out == [f"words 1#{number}" for number in range(5)]


class Source:
    def __init__(self, *texts):
        self.texts = texts

    def documents(self, report=None):
        return (Document(f"#{i}", text) for i, text in enumerate(self.texts))


@pytest.mark.parametrize(
    ("source", "valid", "message"),
    [
        (Source(), 0.2, "no documents in"),
        (Source("a", "b"), Source(), "no documents in"),
        (
            Source("a"),
            0.2,
            "too short to hold out valid=0.2 of it; set valid to a source of its own",
        ),
        (Source("a", "b \ud800"), 0.2, r"#1 contains a lone surrogate .*'\\ud800' at character 2"),
    ],
)
def test_bad_input_shows_at_once(tmp_path, source, valid, message):
    with pytest.raises(InputError, match=message):
        survey_of(tmp_path, source, valid)
    assert read_survey(tmp_path / "partial") is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"documents": -1}', "\ud800"])
def test_a_survey_that_cannot_be_read_is_made_anew(tmp_path, content):
    (tmp_path / "survey.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    assert read_survey(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.txt", "a text", "1 empty (none.txt)"),
        ("a.jsonl", '{"text": "a text"}', "1 of another type (none.txt)"),
        ("a.csv", "text\na text", "1 of another type (none.txt)"),
    ],
)
def test_files_that_are_not_read_are_told(tmp_path, name, text, line):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / name).write_text(text)
    (tmp_path / "texts" / "none.txt").touch()
    shown = io.StringIO()
    source, valid = source_from_path(str(tmp_path / "texts")), Words(5)
    tokenizer = write_vocabulary(tmp_path)
    with TextProgress(stream=shown) as report:
        survey_sources(source, valid, tokenizer, tmp_path / "partial", {}, report)
    assert f"left out of {tmp_path}/texts: {line}\n" in shown.getvalue()
