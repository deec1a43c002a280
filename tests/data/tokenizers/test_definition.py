"""Definitions of tokenizers that are damaged, or meant to do harm, are refused in one line."""

import copy
import json
import random

import pytest

from jaxssl.data.tokenizers.definition import MOST_IDS, needs_trial, parse_definition
from jaxssl.data.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer, from_vocabulary
from jaxssl.data.tokenizers.trial import check_tokenizer
from jaxssl.errors import InputError

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "a", "##b", ","]
GOOD = json.loads(from_vocabulary("\n".join(PIECES)).definition)
VALUES = [None, [], {}, "", "x", -1, 0, 1e308, 2**31, 2**32 - 1, 2**40, 10**7, True, ["a"],
          {"type": "Evil"}, {"type": "Sequence", "pretokenizers": []}, "\ud800", "9" * 5000]  # fmt: skip


def changed(**parts) -> str:
    return json.dumps(GOOD | parts)


def with_model(**fields) -> str:
    return changed(model=GOOD["model"] | fields)


def with_pieces(**ids) -> str:
    return with_model(vocab=GOOD["model"]["vocab"] | ids)


def replacing(content, times=1, **pattern):
    part = {"type": "Replace", "pattern": pattern, "content": content}
    return changed(normalizer={"type": "Sequence", "normalizers": [part] * times})


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("", "not a valid tokenizer.json: Expecting value"),
        ('{"model": ' + "9" * 5000 + "}", "not a valid tokenizer.json"),
        (with_model(max_input_chars_per_word=float("nan")), "not a valid tokenizer.json"),
        ("[" * 100_000, "nested too deeply"),
        ("null", "it has no model"),
        ('{"model": []}', "it has no model"),
        (with_pieces(x=MOST_IDS), "'x' has id 4194304, not from 0 to 4194303"),
        (with_pieces(x=2**32 - 1), "'x' has id 4294967295"),
        (with_pieces(x=-1), "not a valid tokenizer.json"),
        (with_pieces(x=6), "'x' and 'cat' have the same id 6|'cat' and 'x' have the same id 6"),
        (with_model(unk_token="[NO]"), "unk_token '\\[NO\\]' is not in the vocabulary"),
        (changed(added_tokens=[GOOD["added_tokens"][0] | {"id": 900, "content": "[Q]"}]),
         "the added token '\\[Q\\]' has id 900, and in the vocabulary 11"),
        (replacing("a" * 60, 5, String="a"), "replaces a character by up to 777,600,000 others"),
        (replacing("a" * 101, Regex="a*"), "replaces a character by up to 101 others"),
        (replacing("a" * 101, String=""), "replaces a character by up to 101 others"),
    ],
)  # fmt: skip
def test_what_is_refused(definition, message):
    with pytest.raises(InputError, match=message) as caught:
        HuggingFaceTokenizer(definition)
    assert "\n" not in str(caught.value)


def test_what_is_taken():
    assert HuggingFaceTokenizer("\ufeff" + json.dumps(GOOD)).vocab_size == len(PIECES)
    assert HuggingFaceTokenizer(replacing("--", 3, String="-")).encode(["the"])[0].tolist() == [5]
    assert HuggingFaceTokenizer(replacing("a" * 150, String="ab")).vocab_size == len(PIECES)


def test_what_needs_a_trial():
    assert not needs_trial(GOOD)
    assert not needs_trial(parse_definition(changed(decoder=None, normalizer=None), "it"))
    split = {
        "type": "Split",
        "pattern": {"Regex": "(a+)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    for parts in (
        {"pre_tokenizer": split},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits"}, split]}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Evil"}]}},
        {"model": {"type": "BPE", "vocab": {}, "merges": []}},
    ):
        assert needs_trial(GOOD | parts)


def places(value, path=()):
    """Where something can be changed in a JSON value."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else ()
    for key, part in enumerate(value) if isinstance(value, list) else inner:
        yield from places(part, (*path, key))


def mutated(seed: int) -> str:
    chance, parts = random.Random(seed), copy.deepcopy(GOOD)
    for _ in range(chance.choice([1, 1, 2, 4])):
        path = chance.choice(list(places(parts)))
        inner = parts
        for key in path[:-1]:
            inner = inner[key]
        if chance.random() < 0.3:
            del inner[path[-1]]
        else:
            inner[path[-1]] = chance.choice(VALUES)
    return json.dumps(parts)


def test_any_change_is_refused_in_one_line_or_works():
    works, refusals = 0, []
    for seed in range(300):
        definition = mutated(seed)
        try:
            if needs_trial(parse_definition(definition, "it")):
                continue  # in a process of its own, which takes half a second
            tokenizer = HuggingFaceTokenizer(definition)
        except InputError as error:
            refusals.append(str(error))
            continue
        special = {tokenizer.pad, tokenizer.unknown, tokenizer.begin, tokenizer.end, tokenizer.mask}
        assert len(special) == 5
        assert max(special) < tokenizer.vocab_size
        problem = check_tokenizer(tokenizer)
        assert not problem
        assert HuggingFaceTokenizer(tokenizer.definition).fingerprint == tokenizer.fingerprint
        works += 1
    assert works >= 10
    assert len(refusals) > 50
    assert all("\n" not in message and len(message) < 500 for message in refusals)
