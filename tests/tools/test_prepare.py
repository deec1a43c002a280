"""`jaxssl prepare`: what it prints, and one line with exit code 2 for what is wrong."""

import pytest

from jaxssl.data.rows import Rows, open_rows
from jaxssl.tools.main import main

WORDS = "pack my box with five dozen liquor jugs and the quick brown fox jumps over a lazy dog"


@pytest.fixture
def corpus(tmp_path):
    """A text of a hundred documents, and a BERT vocabulary of its words."""
    words = WORDS.split()
    texts = [" ".join(words[i % 7 :: 1 + i % 3]) for i in range(100)]
    (tmp_path / "text.txt").write_text("\n\n".join(texts))
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (tmp_path / "vocab.txt").write_text("\n".join(specials + words))
    return tmp_path


def call(folder, *options, source="text.txt"):
    arguments = ["prepare", str(folder / source), "--into", str(folder / "set")]
    vocabulary = ["--tokenizer", str(folder / "vocab.txt")] * ("--tokenizer" not in options)
    main([*arguments, "--documents", "blank_line", "--workers", "1", *vocabulary, *options])


def error_of(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        call(*arguments) if not isinstance(arguments[0], str) else main(arguments)
    printed = capsys.readouterr()
    assert end.value.code == 2
    assert printed.out == ""
    return printed.err


def test_prepares_and_tells_what_comes_next(corpus, capsys):
    call(corpus, "--length", "32", "--valid", "0.1")
    printed = capsys.readouterr().out
    assert f"{corpus / 'set'}: rows of 32 tokens" in printed
    assert f"--data.path {corpus / 'set'}" in printed
    assert "documents" in printed
    assert "bytes each" in printed
    open_rows(Rows(str(corpus / "set")), "valid", seed=0).batch(0)
    call(corpus, "--length", "32", "--valid", "0.1")
    assert "existed already" in capsys.readouterr().out


def test_valid_of_its_own(corpus):
    (corpus / "held.txt").write_text("a lazy dog\n\nthe quick brown fox")
    call(corpus, "--valid", str(corpus / "held.txt"))
    reader = open_rows(Rows(str(corpus / "set")), "valid", seed=0)
    assert reader.documents([0]) == ["held.txt#0", "held.txt#1"]


def test_undecodable_bytes(corpus, capsys):
    with (corpus / "text.txt").open("ab") as file:
        file.write(b"\n\nthe quick \xff fox\n\nthe lazy dog")
    assert error_of(capsys, corpus).count("\n") == 1
    assert not (corpus / "set").exists()
    call(corpus, "--on-bad-text", "skip")
    assert "1 documents were left out as unreadable" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--length", "4"], "length=4 must be at least 8"),
        (["--valid", "1.5"], "valid=1.5"),
        (["--valid", "missing.txt"], "missing.txt"),
        (["--tokenizer", "missing.model"], "missing.model"),
        (["--vocab-size", "500"], "--vocab-size is for a tokenizer that is trained"),
        (["--column", "text"], "column"),
    ],
)
def test_one_line_for_what_is_wrong(corpus, capsys, options, message):
    line = error_of(capsys, corpus, *options)
    assert message in line
    assert line.startswith("error: ")
    assert line.count("\n") == 1


def test_missing_source(corpus, capsys):
    with pytest.raises(SystemExit):
        call(corpus, source="nowhere.txt")
    assert "nowhere.txt" in capsys.readouterr().err
