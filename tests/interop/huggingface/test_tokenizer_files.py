"""Tokenizers that are exported: the same ids on any text, or nothing is written."""

import io
import json
import lzma
import os
import random
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from jaxssl.data.tokenizers.grow import grow
from jaxssl.data.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer, from_vocabulary
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.pieces import byte_alphabet
from jaxssl.data.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, train_sentencepiece
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.tokenizer_files import (
    HARD,
    compare,
    export_tokenizer,
    exported_definition,
)
from tests.data.tokenizers.models import TEXTS, tiny_model

VOCABULARIES = Path(os.environ.get("JAXSSL_TEST_VOCABULARIES", "none"))  # published files
WORDS = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nlist\n##s\n,\n中"
SEED = 17


def random_lines(count: int) -> list[str]:
    """Lines of words, of single blocks of Unicode, of all code points, of runs, and of marks that combine."""
    choose = random.Random(SEED)

    def points(low: int, high: int, most: int) -> str:
        codes = (choose.randrange(low, high) for _ in range(choose.randint(1, most)))
        return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)

    blocks = [(0x20, 0x7F), (0, 0x250), (0x300, 0x600), (0x590, 0x700), (0x900, 0xE00), (0x1100, 0x1200),
              (0x1E00, 0x2000), (0x3040, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xFB00, 0x10000),
              (0x1F300, 0x1FA00), (0, 0x110000)]  # fmt: skip
    marks = "aeoAI ÅΑα\u0301\u0308\u0327\u0345ﾞｶﾊﾟ\u1100\u1161\u11a8ﬁ①\u200d\u3000\x01\r\n"
    marks += "\u05b8\u05c1\u0651\u064e"
    lines = [line for text in TEXTS for line in text.split("\n") if line]
    makers = [
        lambda: choose.choice(lines)[: choose.randint(1, 80)],
        lambda: points(*choose.choice(blocks), 20),
        lambda: (
            points(*choose.choice(blocks), 4)
            + choose.choice(lines)[:20]
            + points(*choose.choice(blocks), 4)
        ),
        lambda: "".join(choose.choice(marks) for _ in range(choose.randint(1, 10))),
        lambda: "".join(choose.choice("ab -=.e") * choose.randint(1, 9) for _ in range(4)),
    ]
    return [makers[i % len(makers)]() for i in range(count)]


def byte_level() -> HuggingFaceTokenizer:
    """Pairs of bytes with one special token, as GPT-2 has them."""
    pieces = [*byte_alphabet(), "th", "the", "Ġthe"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the")]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    one = dict.fromkeys(("begin", "end", "unknown"), "<|endoftext|>")
    return HuggingFaceTokenizer(tokenizer.to_str(), names=one)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sentencepiece_without_normalisation(kind, tmp_path):
    tokenizer = train_sentencepiece(TEXTS, SentencePiece(vocab_size=500, kind=kind))
    texts = random_lines(400)
    proof = export_tokenizer(tokenizer, tmp_path, model_max_length=32, texts=texts)
    assert proof.texts == len(HARD) + 400
    assert proof.equal + len(proof.ties) == proof.texts
    assert len(proof.ties) <= (20 if kind == "unigram" else 0)
    exported = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert exported.encode("the list").ids == [2, *tokenizer.encode(["the list"])[0], 3]
    assert exported.decode(exported.encode("the  list\n of").ids) == "the  list\n of"
    again = load_tokenizer(tmp_path)
    roles = ("pad", "unknown", "begin", "end", "mask")
    assert [getattr(again, role) for role in roles] == [getattr(tokenizer, role) for role in roles]
    np.testing.assert_array_equal(again.special, tokenizer.special)


def test_word_piece(tmp_path):
    tokenizer = from_vocabulary(WORDS)
    export_tokenizer(tokenizer, tmp_path, model_max_length=8, texts=random_lines(50))
    assert (tmp_path / "vocab.txt").read_text() == WORDS + "\n"
    exported = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    pair = exported.encode("The lists", "the")
    assert pair.ids == [2, 5, 6, 7, 3, 5, 3]
    assert pair.type_ids == [0, 0, 0, 0, 0, 1, 1]
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert (config["model_max_length"], config["mask_token"], config["eos_token"]) == (
        8,
        "[MASK]",
        "[SEP]",
    )
    assert load_tokenizer(tmp_path).fingerprint == tokenizer.fingerprint


def test_roles_without_a_row_stand_for_the_token_that_has_one(tmp_path):
    tokenizer = byte_level()
    assert tokenizer.own_size == 260
    export_tokenizer(tokenizer, tmp_path, model_max_length=8, template="begin", size=260)
    exported = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert exported.get_vocab_size() == 260
    assert exported.encode("the").ids == [259, 257]
    specials = json.loads((tmp_path / "special_tokens_map.json").read_text())
    assert specials["bos_token"] == specials["eos_token"] == "<|endoftext|>"
    assert "mask_token" not in specials
    export_tokenizer(tokenizer, tmp_path / "all", model_max_length=8)
    every = tokenizers.Tokenizer.from_file(str(tmp_path / "all" / "tokenizer.json"))
    assert every.get_vocab_size() == tokenizer.vocab_size
    assert (tmp_path / "all" / "merges.txt").read_text().startswith("#version: 0.2\nt h\n")


def test_other_ids_are_refused_and_nothing_is_written(tmp_path, monkeypatch):
    tokenizer = from_vocabulary(WORDS)
    wrong = exported_definition(tokenizer, 10)
    wrong["normalizer"]["lowercase"] = False
    with pytest.raises(
        InputError, match="would give 1 ids for 'The'.* and they differ, as for 1 of 2 texts"
    ):
        compare(tokenizer, wrong, ["the", "The"])
    name = "jaxssl.interop.huggingface.tokenizer_files.exported_definition"
    monkeypatch.setattr(name, lambda *_: wrong)
    with pytest.raises(InputError, match="nothing was written"):
        export_tokenizer(tokenizer, tmp_path / "new", model_max_length=8)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_grown_vocabulary_goes_out(kind):
    old = train_sentencepiece(TEXTS, SentencePiece(vocab_size=500, kind=kind))
    words = ["photosynthesis", "chloroplast"]
    tokenizer = grow(old, words)
    definition = exported_definition(tokenizer, tokenizer.vocab_size)
    texts = [
        *words,
        "a photosynthesis, (chloroplast)\n chloroplasts",
        "myphotosynthesis",
        *random_lines(50),
    ]
    proof = compare(tokenizer, definition, (*HARD, *texts))
    assert proof.texts == len(HARD) + len(texts)
    assert tokenizer.encode(words)[0].tolist() == [500]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "char"}, "is a model of words or characters"),
        ({"treat_whitespace_as_suffix": True}, "marks white space behind words"),
        ({"user_defined_symbols": "@@"}, "has the symbol '@@' within texts"),
    ],
)
def test_what_cannot_be_expressed(options, message, tmp_path):
    size = {} if "model_type" not in options else {"vocab_size": 60}
    tokenizer = SentencePieceTokenizer(tiny_model(**options, **size)[0])
    with pytest.raises(InputError, match=message):
        export_tokenizer(tokenizer, tmp_path / "new", model_max_length=8)
    assert not (tmp_path / "new").exists()


def trained(kind: str, rule: str, *, spaces: bool, fallback: bool) -> SentencePieceTokenizer:
    """A model of other people's settings."""
    model = io.BytesIO()
    lines = [line for text in TEXTS for line in text.split("\n") if line.strip()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type=kind,
        vocab_size=700,
        normalization_rule_name=rule,
        remove_extra_whitespaces=not spaces,
        byte_fallback=fallback,
        num_threads=1,
        minloglevel=2,
    )
    return SentencePieceTokenizer(model.getvalue())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "rule", "spaces", "fallback"),
    [
        ("unigram", "nmt_nfkc", False, False),  # T5, ALBERT
        ("bpe", "identity", True, True),  # Llama
        ("bpe", "nfkc", True, True),
        ("unigram", "nfkc_cf", True, True),
        ("bpe", "nmt_nfkc", False, True),
        ("unigram", "nmt_nfkc_cf", True, False),
    ],
)
def test_any_text_has_the_ids_of_sentencepiece(kind, rule, spaces, fallback):
    tokenizer = trained(kind, rule, spaces=spaces, fallback=fallback)
    texts = random_lines(10_000)
    proof = compare(
        tokenizer, exported_definition(tokenizer, tokenizer.vocab_size), (*HARD, *texts)
    )
    print(
        f"{kind} {rule}: {proof.equal:,} of {proof.texts:,} texts have equal ids, {len(proof.ties)} are ties"
    )
    assert len(proof.ties) <= (200 if kind == "unigram" else 0)  # of 2,000 lines of runs


@pytest.mark.slow
@pytest.mark.skipif(not VOCABULARIES.is_dir(), reason="JAXSSL_TEST_VOCABULARIES names no folder")
@pytest.mark.parametrize(
    "name", ["bert-base-uncased-vocab.txt", "bert-base-chinese-vocab.txt", "gpt2"]
)
def test_any_text_has_the_ids_of_published_vocabularies(name, tmp_path):
    if name == "gpt2":
        (tmp_path / "vocab.json").write_bytes((VOCABULARIES / "gpt2-encoder.json").read_bytes())
        (tmp_path / "merges.txt").write_bytes((VOCABULARIES / "gpt2-vocab.bpe").read_bytes())
    tokenizer = load_tokenizer(tmp_path if name == "gpt2" else VOCABULARIES / name)
    novels = VOCABULARIES.parent / "novels_en" / "valid.txt.xz"
    english = lzma.decompress(novels.read_bytes()).decode().split("\n") if novels.exists() else []
    texts = (english[:3000] + random_lines(10_000))[:10_000]
    proof = export_tokenizer(tokenizer, tmp_path / "out", model_max_length=512, texts=texts)
    assert proof.equal == proof.texts == len(HARD) + 10_000
    exported = tokenizers.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    exported.encode_special_tokens = True
    ids = exported.encode_batch(texts, add_special_tokens=False)
    assert all(one.ids == list(two) for one, two in zip(ids, tokenizer.encode(texts), strict=True))


@pytest.mark.slow
def test_transformers_reads_what_is_written(tmp_path):
    transformers = pytest.importorskip("transformers")
    for number, tokenizer in enumerate(
        (
            train_sentencepiece(TEXTS, SentencePiece(vocab_size=500)),
            from_vocabulary(WORDS),
            byte_level(),
        )
    ):
        folder = tmp_path / str(number)
        export_tokenizer(tokenizer, folder, model_max_length=32)
        found = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        assert len(found) == tokenizer.vocab_size
        assert found.model_max_length == 32
        assert (found.cls_token_id, found.sep_token_id) == (tokenizer.begin, tokenizer.end)
        assert (found.pad_token_id, found.mask_token_id) == (tokenizer.pad, tokenizer.mask)
        for text in ("The lists, 中\n e\u0301", "  two  "):
            ids = [tokenizer.begin, *tokenizer.encode([text])[0], tokenizer.end]
            assert found(text)["input_ids"] == ids
