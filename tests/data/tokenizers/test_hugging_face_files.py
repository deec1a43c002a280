"""Tokenizers of Hugging Face folders: every form opens, with the ids and the special tokens of its files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from jaxssl.data.tokenizers.hugging_face_files import added_tokens, names_of, read_settings
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.pieces import byte_alphabet
from jaxssl.errors import InputError
from tests.data.tokenizers.models import tiny_model

VOCABULARIES = Path(os.environ.get("JAXSSL_TEST_VOCABULARIES", "none"))  # published files


def write(folder: Path, **files: object) -> Path:
    """Writes JSON files, whose names have `__` for a dot."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(json.dumps(content), encoding="utf-8")
    return folder


def pairs(folder: Path, first: list[str], **files: object) -> Path:
    """Writes a vocab.json of all bytes behind some special tokens, with one merge."""
    vocabulary = {piece: i for i, piece in enumerate([*first, *byte_alphabet(), "th"])}
    write(folder, vocab__json=vocabulary, **files)
    (folder / "merges.txt").write_text("#version: 0.2\nt h\n", encoding="utf-8")
    return folder


def test_gpt2_has_one_special_token(tmp_path):
    one = "<|endoftext|>"
    named = {"bos_token": one, "eos_token": {"content": one}, "unk_token": one}
    folder = pairs(tmp_path / "gpt2", [one], special_tokens_map__json=named)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.own_size == 258
    assert (tokenizer.end, tokenizer.begin, tokenizer.vocab_size) == (0, 260, 262)
    assert tokenizer.stands_for == {260: 0, 259: 0}  # begin and unknown have ids of their own
    assert [tokenizer.piece(i) for i in tokenizer.encode(["the <|endoftext|>"])[0][:2]] == [
        "th",
        "e",
    ]
    assert 0 not in tokenizer.encode(["the <|endoftext|>"])[0]
    tokenizer.save(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert (again.fingerprint, again.stands_for) == (tokenizer.fingerprint, tokenizer.stands_for)


def test_roberta_has_all_five(tmp_path):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    config = {"cls_token": "<s>", "bos_token": "<s>", "sep_token": "</s>", "eos_token": "</s>",
              "mask_token": {"content": "<mask>", "lstrip": True}, "add_prefix_space": True}  # fmt: skip
    tokenizer = load_tokenizer(pairs(tmp_path / "roberta", special, tokenizer_config__json=config))
    ids = [getattr(tokenizer, role) for role in ("begin", "pad", "end", "unknown", "mask")]
    assert (ids, tokenizer.vocab_size, tokenizer.stands_for) == ([0, 1, 2, 3, 4], 262, {})
    assert tokenizer.piece(tokenizer.encode(["the"])[0][0]) == " "
    assert np.flatnonzero(tokenizer.special).tolist() == ids


def test_a_length_without_a_limit(tmp_path):
    """transformers writes int(1e30), which is larger than numbers of other files may be."""
    write(tmp_path, tokenizer_config__json={"model_max_length": int(1e30), "eos_token": "</s>"})
    assert read_settings(tmp_path) == {"eos_token": "</s>"}
    write(tmp_path, tokenizer_config__json={"model_max_length": int(1e30) + 1})
    with pytest.raises(InputError, match="of 31 digits is too large"):
        read_settings(tmp_path)
    write(tmp_path, tokenizer_config__json=["eos_token"])
    with pytest.raises(InputError, match=r"tokenizer_config\.json: .*expected an object"):
        read_settings(tmp_path)


def test_merges_must_be_there(tmp_path):
    pairs(tmp_path, ["<s>"])
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(InputError, match="no merges.txt beside it; write a tokenizer.json"):
        load_tokenizer(tmp_path)


def test_names_of_the_files_come_first(tmp_path):
    pieces = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[GO]\nthe\nThe"
    write(tmp_path, tokenizer_config__json={"cls_token": "[GO]", "do_lower_case": False})
    (tmp_path / "vocab.txt").write_text(pieces)
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.begin, tokenizer.end) == (5, 3)
    assert tokenizer.encode(["The the"])[0].tolist() == [7, 6]


def test_xlm_roberta_has_shifted_ids(tmp_path):
    model, processor = tiny_model(fairseq=True)
    write(tmp_path, tokenizer_config__json={"tokenizer_class": "XLMRobertaTokenizer"})
    (tmp_path / "sentencepiece.bpe.model").write_bytes(model)
    tokenizer = load_tokenizer(tmp_path)
    ids = [getattr(tokenizer, role) for role in ("begin", "pad", "end", "unknown", "mask")]
    assert ids == [0, 1, 2, 3, processor.get_piece_size() + 1]
    text = "the list of the words"
    assert tokenizer.encode([text])[0].tolist() == [id + 1 for id in processor.encode(text)]
    write(tmp_path, tokenizer_config__json={"tokenizer_class": "CamembertTokenizer"})
    with pytest.raises(InputError, match="shifted ids, and how is only known of XLM-RoBERTa"):
        load_tokenizer(tmp_path)


def test_t5_has_sentinels_behind_its_pieces(tmp_path):
    model, processor = tiny_model()
    (tmp_path / "spiece.model").write_bytes(model)
    plain = load_tokenizer(tmp_path)
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 3, "eos_token": "</s>"}
    write(tmp_path, tokenizer_config__json=config)
    tokenizer = load_tokenizer(tmp_path)
    size = processor.get_piece_size()
    assert tokenizer.own_size == size + 3
    assert tokenizer.piece(size) == "<extra_id_2>"
    text = "the list of <extra_id_0>"
    assert tokenizer.encode([text])[0].tolist() == plain.encode([text])[0].tolist()
    assert (plain.begin, tokenizer.begin) == (size, size + 3)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"added_tokens_decoder": {"900": {"content": "<a>"}}},
            "ids of the added tokens have holes",
        ),
        ([], "tokenizer_config.json"),
    ],
)
def test_what_is_refused(tmp_path, config, message):
    (tmp_path / "spiece.model").write_bytes(tiny_model()[0])
    write(tmp_path, tokenizer_config__json=config)
    with pytest.raises(InputError, match=message) as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_names_and_added_tokens(tmp_path):
    assert names_of({"cls_token": None, "bos_token": {"content": "<s>"}, "pad_token": 5}) == {
        "begin": "<s>"
    }
    write(tmp_path, added_tokens__json={"<a>": -1})
    with pytest.raises(InputError, match="the added token '<a>' has the id -1"):
        added_tokens(tmp_path, {})


@pytest.mark.slow
@pytest.mark.skipif(not VOCABULARIES.is_dir(), reason="JAXSSL_TEST_VOCABULARIES names no folder")
def test_published_pairs(tmp_path):
    (tmp_path / "vocab.json").write_bytes((VOCABULARIES / "gpt2-encoder.json").read_bytes())
    (tmp_path / "merges.txt").write_bytes((VOCABULARIES / "gpt2-vocab.bpe").read_bytes())
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.own_size, tokenizer.end) == (50257, 50256)
    assert tokenizer.encode(["Hello world"])[0].tolist() == [15496, 995]
