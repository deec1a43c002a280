"""JSON files: complete or absent, readable by people, and an error that names the file."""

import json
import math
import os
import re
from dataclasses import dataclass

import pytest

from jaxssl.data.stores.json_files import json_text, parse_json, read_json, write_json
from jaxssl.errors import InputError


def test_what_is_written_is_read_again(tmp_path):
    content = {"name": "Bücher", "sizes": [1, 2.5, None, True]}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]  # no temporary file is left


def test_the_bytes_do_not_depend_on_the_platform(tmp_path):
    write_json(tmp_path / "a.json", {"ü": [1]})
    assert (tmp_path / "a.json").read_bytes() == '{\n "ü": [\n  1\n ]\n}\n'.encode()
    write_json(tmp_path / "a.json", {"ü": [1]}, indent=None)
    assert (tmp_path / "a.json").read_bytes() == '{"ü": [1]}'.encode()


def test_a_failure_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", "old")
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", ["new", object()])
    assert read_json(tmp_path / "a.json") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("indent", [None, 1])
def test_numbers_that_json_does_not_have_become_null(indent):
    text = json_text({"a": [math.nan, 1.5, (math.inf,)], "b": -math.inf}, indent=indent)
    assert json.loads(text) == {"a": [None, 1.5, [None]], "b": None}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe", "can't decode byte 0xff"),
        (b'\xef\xbb\xbf{"a": 1}', "BOM"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"[" * 500 + b"]" * 500, "it is nested too deeply"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "it is nested too deeply"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b'{"a": -Infinity}', "-Infinity is no JSON"),
        (b'{"a": 1e999}', "the number 1e999 is too large"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "of 5000 digits is too large"),
        (b'{"a": 99999999999999999999}', "of 20 digits is too large"),
        (rb'{"a": "\ud800"}', "surrogates not allowed"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path, content, problem):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.json cannot be read \(.*{re.escape(problem)}"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_never_opened(tmp_path, make):
    make(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"a\.json cannot be read \(it is no file\)"):
        read_json(tmp_path / "a.json")


def test_pairs_of_surrogates_and_large_seeds_are_read(tmp_path):
    assert parse_json(rb'["\ud83d\ude00", 18446744073709551615]', "a") == ["😀", 2**64 - 1]


def test_the_content_is_checked_by_its_type(tmp_path):
    @dataclass
    class Note:
        rows: int

    write_json(tmp_path / "a.json", {"rows": 3})
    assert read_json(tmp_path / "a.json", Note) == Note(3)
    write_json(tmp_path / "a.json", {"rows": "3"})
    with pytest.raises(InputError, match=r"a\.json: rows is '3', expected a whole number"):
        read_json(tmp_path / "a.json", Note)


def test_a_longer_file_is_replaced_as_a_whole(tmp_path):
    write_json(tmp_path / "a.json", list(range(100)))
    write_json(tmp_path / "a.json", [])
    assert json.loads((tmp_path / "a.json").read_text()) == []
