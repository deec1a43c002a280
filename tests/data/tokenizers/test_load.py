"""Opening a tokenizer of any kind: the file's suffix decides; what is no tokenizer is refused in one line."""

import json
from pathlib import Path

import pytest

from jaxssl.data.stores.store import Store
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from tests.data.tiny_corpus import write_vocabulary


def write(path: Path, pieces: list[str]) -> Path:
    path.write_text("\n".join(pieces) + "\n", encoding="utf-8", newline="\n")
    return path


def test_case_is_inferred_or_said(tmp_path):
    uncased = write(tmp_path / "uncased.txt", ["[UNK]", "[PAD]", "<S>", "the", "e"])
    cased = write(tmp_path / "cased.txt", ["[UNK]", "the", "The"])
    assert load_tokenizer(uncased).encode(["The É"])[0].tolist() == [3, 4]
    assert load_tokenizer(uncased, lowercase=False).encode(["The"])[0].tolist() == [0]
    assert load_tokenizer(cased).encode(["The the"])[0].tolist() == [2, 1]
    assert load_tokenizer(cased, lowercase=True).encode(["The"])[0].tolist() == [1]
    short = load_tokenizer(cased)
    assert (short.pad, short.mask, short.vocab_size) == (3, 6, 7)  # added behind its ids


def test_a_single_capital_does_not_make_a_vocabulary_cased(tmp_path):
    lower = ["[UNK]", "[PAD]", *(f"w{i}" for i in range(200)), "the"]
    for number, pieces in enumerate((lower, ["\ufeff[UNK]", *lower[1:]], [*lower, "COVID"])):
        tokenizer = load_tokenizer(write(tmp_path / f"{number}.txt", pieces))
        assert tokenizer.encode(["The"])[0].tolist() == [202]
        assert tokenizer.vocab_size == len(pieces) + 3
        assert "of 20" in tokenizer.note
        assert "so text is lower-cased; lowercase=False keeps its case" in tokenizer.note
    names = [f"Name{i}" for i in range(3)]
    cased = load_tokenizer(write(tmp_path / "cased.txt", [*lower, *names]))
    assert cased.encode(["The"])[0].tolist() == [0]
    assert "3 of 204 pieces have capital letters, so the case of text is kept" in cased.note
    assert load_tokenizer(tmp_path / "0.txt", lowercase=True).note == ""


def test_white_space_around_a_piece_is_no_part_of_it(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK] \r\nthe\t\r\n")
    tokenizer = load_tokenizer(path)
    assert (tokenizer.mask, tokenizer.vocab_size) == (4, 6)
    assert tokenizer.encode(["the"])[0].tolist() == [5]


def test_what_is_no_tokenizer_is_refused(tmp_path):
    for name, content, message in (
        ("a.model", b"text", "not a sentencepiece model"),
        ("b.model", b"", "not a sentencepiece model: it is empty"),
        ("a.json", b"{", "not a valid tokenizer.json"),
        ("b.json", b"[]", "not a valid tokenizer.json"),
        ("a.txt", b"words\n", "not a BERT vocabulary"),
        ("c.txt", b"[UNK]" + b"\n" * 5_000_000, "has more than 4,194,304 lines"),
        ("b.txt", b"\xff", "not UTF-8 at byte 0"),
        ("a.bin", b"", "not a .model, .json or .txt"),
        ("folder/readme", b"", "contains no tokenizer.json, tokenizer.model"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            load_tokenizer(path.parent if "/" in name else path)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="does not exist"):
        load_tokenizer(tmp_path / "none.model")


def test_a_saved_folder_is_opened_and_checked(tmp_path):
    tokenizer = load_tokenizer(write_vocabulary(tmp_path))
    tokenizer.save(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "jaxssl.json").read_text())
    assert saved == {"kind": tokenizer.kind, "fingerprint": tokenizer.fingerprint}
    assert load_tokenizer(tmp_path / "saved").fingerprint == tokenizer.fingerprint
    for text, message in (
        ('{"fingerprint": "0"}', "was changed after it was saved"),
        ('{"fingerprint": 0}', "jaxssl.json: fingerprint is 0"),
        ("{}", "jaxssl.json"),
        ("[]", "jaxssl.json"),
        ("{", "jaxssl.json cannot be read"),
    ):
        (tmp_path / "saved" / "jaxssl.json").write_text(text)
        with pytest.raises(InputError, match=message):
            load_tokenizer(tmp_path / "saved")


def test_a_folder_of_an_object_store(tmp_path):
    tokenizer = load_tokenizer(write_vocabulary(tmp_path))
    tokenizer.save(tmp_path / "saved")
    store = Store("memory://tokenizers/words")
    for path in (tmp_path / "saved").iterdir():
        store.upload(path, path.name)
    found = load_tokenizer(store.url)
    assert found.fingerprint == tokenizer.fingerprint
    assert found.encode(["ban"])[0].tolist() == tokenizer.encode(["ban"])[0].tolist()


def test_case_is_said_only_of_a_vocabulary(tmp_path):
    load_tokenizer(write_vocabulary(tmp_path)).save(tmp_path / "saved")
    with pytest.raises(InputError, match="lowercase=True is only for a vocab.txt"):
        load_tokenizer(tmp_path / "saved", lowercase=True)
