"""Vocabularies that grow by words: old text keeps its ids, unused ids are taken first."""

import json

import pytest

from jaxssl.data.tokenizers.grow import grow, read_words
from jaxssl.data.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer, from_vocabulary
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, train_sentencepiece
from jaxssl.errors import InputError
from tests.data.tokenizers.models import TEXTS, tiny_model

WORDS = (
    "[PAD]\n[unused0]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nphoto\n##syn\n##thesis\nthe\n-\n19\ncovid\n##s"
)


def check_grown(old, new, words):
    """Whether each word is one token, everything else as before, and what is saved comes back."""
    assert [len(ids) for ids in new.encode(words)] == [1] * len(words)
    assert new.parent == old.fingerprint
    for word, pieces in zip(words, old.encode(words), strict=True):
        assert new.grown[int(new.encode([word])[0][0])] == tuple(pieces)
    roles = ("pad", "unknown", "begin", "end", "mask")
    assert [getattr(new, role) for role in roles] == [getattr(old, role) for role in roles]


def test_word_piece(tmp_path):
    old = from_vocabulary(WORDS)
    new = grow(old, ["photosynthesis", "covid-19"])
    check_grown(old, new, ["photosynthesis", "covid-19"])
    assert new.grown == {1: (6, 7, 8), 14: (12, 10, 11)}
    assert new.encode(["The Photosynthesis, covid-19s the-19"])[0].tolist() == [
        9,
        1,
        2,
        12,
        10,
        11,
        13,
        9,
        10,
        11,
    ]
    assert new.decode([9, 1]) == "the photosynthesis"
    assert (new.starts_word[1], new.byte_length[1], new.special[1]) == (True, 15, False)
    new.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert (again.parent, again.grown, again.fingerprint) == (
        new.parent,
        new.grown,
        new.fingerprint,
    )
    description = json.loads((tmp_path / "jaxssl.json").read_text())
    (tmp_path / "jaxssl.json").write_text(json.dumps(description | {"grown": {"1": [900]}}))
    with pytest.raises(InputError, match="grown has an id that is none"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sentencepiece(kind):
    old = train_sentencepiece(TEXTS, SentencePiece(vocab_size=500, kind=kind))
    words = ["photosynthesis", "中国"]
    new = grow(old, words)
    check_grown(old, new, words)
    assert sorted(new.grown) == [500, 501]
    assert new.encode(TEXTS[:3])[2].tolist() == old.encode(TEXTS[:3])[2].tolist()
    text = "a photosynthesis, 中国\nphotosynthesis"
    assert new.decode(new.encode([text])[0]) == text
    assert new.starts_word[500]


def test_special_ids_of_a_foreign_model_stay():
    old = SentencePieceTokenizer(tiny_model()[0])
    assert (old.own_size, old.vocab_size) == (400, 402)
    new = grow(old, ["photosynthesis"])
    check_grown(old, new, ["photosynthesis"])
    assert (list(new.grown), new.vocab_size) == ([402], 403)


def test_pairs_of_bytes_take_reserved_tokens_first():
    from tests.interop.huggingface.test_tokenizer_files import byte_level

    parts = json.loads(byte_level().definition)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    reserved = "<|reserved_special_token_0|>"
    parts["added_tokens"].append({"id": 260, "content": reserved, **flags, "special": True})
    old = HuggingFaceTokenizer(parts)
    new = grow(old, ["ozone", "xenon"])
    check_grown(old, new, ["ozone", "xenon"])
    assert list(new.grown) == [260, old.vocab_size]
    assert len(new.encode([" ozone"])[0]) == 2
    assert new.encode(["ozones"])[0].tolist() == old.encode(["ozones"])[0].tolist()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["the"], "all 1 words are single tokens of the tokenizer already"),
        (["two words"], "the word 'two words' cannot be added: a word has 1 to 100 characters"),
        (["a" * 101], "cannot be added: a word has"),
    ],
)
def test_what_is_no_new_word(words, message):
    with pytest.raises(InputError, match=message):
        grow(from_vocabulary(WORDS), words)


def test_words_of_a_file_and_of_a_second_tokenizer(tmp_path):
    (tmp_path / "words.txt").write_text("\ufeffozone\n\n xenon \nozone\n", encoding="utf-8")
    assert read_words(tmp_path / "words.txt") == ("ozone", "xenon")
    from_vocabulary(WORDS).save(tmp_path / "second")
    assert read_words(tmp_path / "second") == ("photo", "the", "covid")
    (tmp_path / "words.txt").write_text("\n")
    with pytest.raises(InputError, match="has no word; write one word a line"):
        read_words(tmp_path / "words.txt")
    with pytest.raises(InputError, match="cannot be read"):
        read_words(tmp_path / "none.txt")
