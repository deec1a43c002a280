"""The share of unknown tokens and of held-out text is told, and a warning where it is not as wished."""

import io

import pytest

from jaxssl.data.preparing.held_out import HeldOut
from jaxssl.data.preparing.remarks import remarks_on, unknown_share
from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.progress import TextProgress
from tests.data.tiny_corpus import WORDS, Words, write_vocabulary


def prepared(folder, words):
    config = Prepare(Words(), 64, write_vocabulary(folder, words), 0.2, workers=1)
    return prepare(config, folder / "set", TextProgress(silent=True))


def test_unknown_tokens_are_counted(tmp_path):
    manifest = prepared(tmp_path, len(WORDS))
    assert unknown_share(manifest, tmp_path / "set") == 0
    assert remarks_on(manifest, tmp_path / "set", 0.2, HeldOut()) == [
        "0.00% of the tokens are unknown to the tokenizer"
    ]


def test_many_unknown_tokens_and_another_share_are_warned_of(tmp_path):
    manifest = prepared(tmp_path, 75)  # a quarter of the words has no piece
    assert unknown_share(manifest, tmp_path / "set") == pytest.approx(0.25, abs=0.03)
    first, second = remarks_on(manifest, tmp_path / "set", 0.02, HeldOut())
    assert first.startswith("warning: 2")
    assert "of the tokens are unknown to the tokenizer; take one that covers the text" in first
    assert "% of the tokens are held out, not 2.0%, because single documents" in second
    assert len(remarks_on(manifest, tmp_path / "set", Words(), None)) == 1
    single = remarks_on(manifest, tmp_path / "set", 0.2, HeldOut(sections={"a": (0, 9)}))
    assert single[1].startswith("the text is a single document; if lines or blank lines")


def test_the_case_of_a_vocabulary_and_the_unknown_tokens_are_printed(tmp_path):
    shown = io.StringIO()
    config = Prepare(Words(), 64, write_vocabulary(tmp_path), 0.2, workers=1)
    prepare(config, tmp_path / "set", TextProgress(stream=shown))
    assert "0 of 100 pieces have capital letters, so text is lower-cased" in shown.getvalue()
    assert "0.00% of the tokens are unknown" in shown.getvalue()
