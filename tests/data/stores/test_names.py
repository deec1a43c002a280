"""Names from elsewhere: those of files inside one folder are accepted, all others refused in one line."""

from pathlib import Path

import pytest

from jaxssl.data.stores.names import SHA256, PlainName, inside, plain_name
from jaxssl.errors import InputError

PLAIN = [
    "a",
    "tokenizer/spiece.model",
    "train-00000-of-00001.array_record",
    "a b",
    "…",
    "..a",
    "a..b",
]
OTHERS = [
    "",
    ".",
    "..",
    "../a",
    "a/../../b",
    "a/./b",
    "/etc/passwd",
    "a//b",
    "a/",
    "a\\b",
    "..\\a",
    "C:/a",
    "c:a",
    "a\0b",
    "a\nb",
    " /a",
    "x" * 5000,
    "x" * 256,
    "ü" * 200,
    "\ud800",
    None,
    5,
    ["a"],
    b"a",
]


@pytest.mark.parametrize("name", PLAIN)
def test_names_inside_a_folder(name):
    assert plain_name(name, "here") == name
    assert inside(Path("folder"), name, "here") == Path("folder") / name


@pytest.mark.parametrize("name", OTHERS)
def test_all_other_names(name):
    with pytest.raises(
        InputError, match=r"^here names the file .* not a plain relative name"
    ) as told:
        inside(Path("folder"), name, "here")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300


def test_a_file_directly_in_a_folder():
    assert PlainName().allow("a.npz")
    assert not PlainName().allow("a/b")
    assert not PlainName().allow("..")


def test_a_hash():
    assert SHA256.allow("0a" * 32)
    for text in ("", "0a" * 31, "0A" * 32, "../" + "a" * 61, "0a" * 32 + "\n"):
        assert not SHA256.allow(text)
