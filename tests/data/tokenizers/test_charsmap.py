"""The normalisation of sentencepiece by the normalisers of `tokenizers`: equal on any text."""

import json
import random
import struct

import pytest
import sentencepiece
from tokenizers import Tokenizer, models

from jaxssl.data.tokenizers.charsmap import normalizers_of, rules_of
from jaxssl.data.tokenizers.sentencepiece_definition import parse_model
from jaxssl.errors import InputError
from tests.data.tokenizers.models import tiny_model


def normalizer(parts):
    tokenizer = Tokenizer(models.BPE())
    definition = tokenizer.to_str()[:-1].replace('"normalizer":null', '"normalizer":__')
    sequence = json.dumps({"type": "Sequence", "normalizers": parts})
    return Tokenizer.from_str(definition.replace("__", sequence) + "}").normalizer


def charsmap_of(rule: str) -> bytes:
    model, _ = tiny_model(normalization_rule_name=rule)
    return parse_model(model).normalizer_spec.precompiled_charsmap


def test_no_rules():
    assert rules_of(b"") == {}
    assert normalizers_of(b"") == []


@pytest.mark.parametrize("charsmap", [b"\x01", struct.pack("<I", 4000) + b"abc"])
def test_damaged_rules(charsmap):
    with pytest.raises(InputError, match="normalisation of the sentencepiece model is damaged"):
        rules_of(charsmap)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["nfkc", "nmt_nfkc", "nfkc_cf", "nmt_nfkc_cf"])
def test_any_text_is_normalised_alike(rule):
    """All keys of one character, a sample of the others, and 10,000 random mixtures of their parts."""
    model, _ = tiny_model(normalization_rule_name=rule)
    charsmap = charsmap_of(rule)
    rules = rules_of(charsmap)
    assert rules["\ufb01"] == "fi"
    assert rules["e\u0301"] == "é"
    ours = normalizer(normalizers_of(charsmap))
    options = dict.fromkeys(
        ("add_dummy_prefix", "escape_whitespaces", "remove_extra_whitespaces"), False
    )
    theirs = sentencepiece.SentencePieceNormalizer(model_proto=model, **options)
    choose = random.Random(3)
    single = [key for key in rules if len(key) == 1]
    several = [key for key in rules if len(key) > 1]
    firsts, tails = (
        sorted({key[0] for key in several}),
        sorted({c for key in several for c in key[1:]}),
    )
    plain = [*"aeoAI \r\n\t\x01\x7f\x85\u0600\u200b\u200d", *map(chr, range(0xFFF0, 0xFFF8))]
    pools = (single, several, firsts, tails, tails, plain)
    mixed = [
        "".join(choose.choice(choose.choice(pools)) for _ in range(choose.randint(1, 8)))
        for _ in range(10_000)
    ]
    for text in (*single, *choose.sample(several, 10_000), *mixed):
        assert ours.normalize_str(text) == theirs.normalize(text), ascii(text)
