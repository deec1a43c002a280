"""Texts that a caller gives: a string is no list of texts."""

import numpy as np
import pytest

from jaxssl.data.tokenizers.given_texts import given_texts
from jaxssl.errors import InputError


def test_lists_of_all_kinds_are_taken():
    assert given_texts(["a", "b"]) == given_texts(("a", "b")) == given_texts(np.array(["a", "b"]))
    assert given_texts(text for text in "ab") == ["a", "b"]
    assert given_texts([]) == []


def test_a_byte_order_mark_is_no_part_of_a_text():
    assert given_texts(["\ufeffa calm line", "a\ufeffb"]) == ["a calm line", "a\ufeffb"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a gripping film", "texts is a single string, 'a gripping film'; pass a list"),
        (b"bytes", "texts is a single string"),
        (["a", b"b"], r"texts\[1\] is b'b', a bytes; pass strings"),
        ([["a"]], r"texts\[0\] is \['a'\], a list; pass strings"),
        (["a", None], r"texts\[1\] is None"),
        (5, "texts is 5; pass a list of texts"),
        (["a \ud83d"], r"texts\[0\] contains a lone surrogate .*'\\ud83d' at character 2"),
    ],
)
def test_what_is_no_list_of_texts(texts, message):
    with pytest.raises(InputError, match=message):
        given_texts(texts)
