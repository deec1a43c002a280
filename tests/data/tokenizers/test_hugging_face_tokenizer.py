"""tokenizer.json and vocab.txt: nothing is added or cut; words and bytes, for every kind."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from jaxssl.data.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.pieces import byte_alphabet
from jaxssl.errors import InputError
from tests.data.words import bytes_of, check_face, words_of

VOCABULARIES = Path(os.environ.get("JAXSSL_TEST_VOCABULARIES", "none"))  # published files
published = pytest.mark.skipif(
    not VOCABULARIES.is_dir(), reason="JAXSSL_TEST_VOCABULARIES names no folder of vocabularies"
)
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]", "a\u2028b", "play", "##ing",
          "##ed", "the", ",", "中", "##中", "don", "'", "t", "é", "u", "##n", "##k", "[", "]",
          "mask", "sep", "cls", "one", "two"]  # fmt: skip


def write(path: Path, pieces: list[str]) -> Path:
    path.write_text("\n".join(pieces) + "\n", encoding="utf-8", newline="\n")
    return path


@pytest.fixture
def word_piece(tmp_path):
    return load_tokenizer(write(tmp_path / "vocab.txt", PIECES))


def test_word_piece(word_piece):
    ids = word_piece.encode(["Playing, the\n\nDON't 中中 zzz [MASK]"])[0]
    pieces = [word_piece.piece(i) for i in ids]
    assert " ".join(pieces) == "play ##ing , the don ' t 中 中 [UNK] [ mask ]"
    assert word_piece.vocab_size == len(PIECES)
    assert np.flatnonzero(word_piece.special).tolist() == [0, 1, 2, 3, 4, 5]
    assert word_piece.decode(word_piece.encode(["playing the"])[0]) == "playing the"


def test_word_piece_tables(word_piece):
    starts = {piece: bool(s) for piece, s in zip(PIECES, word_piece.starts_word, strict=True)}
    assert [p for p in PIECES if not starts[p]] == ["##ing", "##ed", "##中", "##n", "##k"]
    lengths = dict(zip(PIECES, word_piece.byte_length.tolist(), strict=True))
    some = {"play": 5, "##ing": 3, ",": 1, "中": 3, "##中": 3, "é": 3, "[CLS]": 0, "[unused1]": 0}
    assert {piece: lengths[piece] for piece in some} == some
    assert bytes_of(word_piece, "played, the 中中") == len(" played, the中中".encode())


def test_padding_truncation_and_added_tokens_are_left_out(tmp_path):
    plain = tokenizers.Tokenizer(models.WordPiece({p: i for i, p in enumerate(PIECES)}))
    plain.normalizer = normalizers.BertNormalizer()
    plain.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    plain.add_special_tokens(PIECES[:5])
    plain.enable_padding(length=16)
    plain.enable_truncation(8)
    plain.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    path = tmp_path / "tokenizer.json"
    plain.save(str(path))
    assert len(plain.encode("the " * 20).ids) == 16
    tokenizer = load_tokenizer(path)
    assert tokenizer.encode(["the " * 20])[0].tolist() == [10] * 20
    check_face(tokenizer)
    plain.no_padding()
    plain.no_truncation()
    plain.save(str(path))
    assert load_tokenizer(path).fingerprint == tokenizer.fingerprint  # it changes no id


def byte_level() -> HuggingFaceTokenizer:
    """GPT-2's kind: all bytes, a few merges, <|endoftext|> and an added run of spaces."""
    alphabet = {byte: shown for shown, byte in byte_alphabet().items()}
    words = ["Ġ", "th", "the", "Ġthe", "Ċ"]
    vocabulary = {alphabet[byte]: byte for byte in range(256)}
    vocabulary |= {word: 256 + i for i, word in enumerate(["th", "the", "Ġthe"])}
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the")]
    assert set(words) <= set(vocabulary)
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.add_tokens(["    "])
    return HuggingFaceTokenizer(tokenizer.to_str())


def test_byte_level():
    tokenizer = byte_level()
    check_face(tokenizer)
    assert (tokenizer.end, tokenizer.pad) == (259, 261)  # the four that are missing come last
    assert {tokenizer.pad, tokenizer.unknown, tokenizer.begin, tokenizer.mask} == {
        261,
        262,
        263,
        264,
    }
    for text in ("the the\nthe", "Größe, the 中 🙂\n\n  x    y\t", "\x00\x7f\xa0"):
        ids = tokenizer.encode([text])[0]
        assert tokenizer.decode(ids) == text
        assert bytes_of(tokenizer, text) == len(text.encode())
    assert words_of(tokenizer, "the Größe\tthe\nx    y") == ["the", "Größe", "the", "x", "y"]
    assert tokenizer.piece(258) == " the"
    assert tokenizer.byte_length[[258, 260]].tolist() == [4, 4]


def test_byte_fallback_with_shown_spaces():
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("\u2581the", -1.0), ("\u2581", -2.0)]
    pieces += [("e", -3.0), *((f"<0x{byte:02X}>", -9.0) for byte in range(256))]
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, 0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    ours = HuggingFaceTokenizer(tokenizer.to_str())
    check_face(ours)  # the lattice alone would find <s> in a text
    assert words_of(ours, "thee é the") == ["thee", "é", "the"]
    assert bytes_of(ours, "thee é the") == len(" thee é the".encode())


def test_ids_with_holes():
    tokenizer = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "one": 3, "two": 7}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ours = HuggingFaceTokenizer(tokenizer.to_str())
    assert ours.encode(["one two three"])[0].tolist() == [3, 7, 0]
    assert np.flatnonzero(~ours.special).tolist() == [3, 7]
    assert ours.pad == 8


def test_where_words_are_marked_at_their_ends_each_token_is_a_word():
    model = models.BPE(
        {"a": 0, "b": 1, "b</w>": 2, "ab</w>": 3}, [("a", "b</w>")], end_of_word_suffix="</w>"
    )
    plain = tokenizers.Tokenizer(model)
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    ours = HuggingFaceTokenizer(plain.to_str(), "clip.json")
    assert ours.encode(["ab bb"])[0].tolist() == [3, 1, 2]
    assert ours.piece(3) == "ab "
    assert ours.byte_length[[0, 3]].tolist() == [1, 3]
    assert ours.starts_word.all()
    assert (
        ours.note
        == "clip.json marks the ends of words, not their beginnings: each token counts as a word"
    )


def test_saved_and_loaded(word_piece, tmp_path):
    for number, tokenizer in enumerate((word_piece, byte_level())):
        tokenizer.save(tmp_path / str(number))
        loaded = load_tokenizer(tmp_path / str(number))
        assert loaded.fingerprint == tokenizer.fingerprint
        assert loaded.encode(["the 中"])[0].tolist() == tokenizer.encode(["the 中"])[0].tolist()
        np.testing.assert_array_equal(loaded.byte_length, tokenizer.byte_length)
        np.testing.assert_array_equal(loaded.special, tokenizer.special)


@published
@pytest.mark.parametrize(
    ("file", "size"),
    [
        ("bert-base-uncased-vocab.txt", 30522),
        ("minilm-l6-tokenizer.json", 30522),
        ("bert-base-chinese-vocab.txt", 21128),
    ],
)
def test_published_word_pieces(file, size):
    tokenizer = load_tokenizer(VOCABULARIES / file)
    check_face(tokenizer)
    ids = [tokenizer.pad, tokenizer.unknown, tokenizer.begin, tokenizer.end, tokenizer.mask]
    assert (ids, tokenizer.vocab_size) == ([0, 100, 101, 102, 103], size)
    assert words_of(tokenizer, "Unhappily, 中国 it's") == [
        "unhappily",
        ",",
        "中",
        "国",
        "it",
        "'",
        "s",
    ]
    assert len(tokenizer.encode(["word " * 300])[0]) == 300


@pytest.mark.slow
@published
def test_published_byte_pairs(tmp_path):
    files = (VOCABULARIES / "gpt2-encoder.json", VOCABULARIES / "gpt2-vocab.bpe")
    path = tmp_path / "tokenizer.json"
    tokenizers.ByteLevelBPETokenizer(*map(str, files)).save(str(path))
    added = json.loads(path.read_text(encoding="utf-8"))
    added["added_tokens"] = [{"id": 50256, "content": "<|endoftext|>", "single_word": False,
                              "lstrip": False, "rstrip": False, "normalized": False,
                              "special": True}]  # fmt: skip
    path.write_text(json.dumps(added), encoding="utf-8")
    tokenizer = load_tokenizer(path)
    check_face(tokenizer)
    assert (tokenizer.end, tokenizer.vocab_size) == (50256, 50261)
    assert tokenizer.encode(["Hello world"])[0].tolist() == [15496, 995]
    text = "Unhappily, the Größe's 中国\n\n  are\tnot 12,345.67 🙂"
    assert tokenizer.decode(tokenizer.encode([text])[0]) == text
    assert words_of(tokenizer, "the Größe's\nnot 12,345") == ["the", "Größe's", "not", "12,345"]
    assert bytes_of(tokenizer, text) == len(text.encode())


def test_a_string_is_no_list_of_texts(word_piece):
    with pytest.raises(InputError, match="texts is a single string, 'the cat'; pass a list"):
        word_piece.encode("the cat")
