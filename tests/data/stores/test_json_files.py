"""JSON files: complete or absent, readable by people, and an error that names the file."""

import json

import pytest

from jaxssl.data.stores.json_files import read_json, write_json
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


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe"])
def test_an_unreadable_file_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json cannot be read \("):
        read_json(tmp_path / "a.json")


def test_a_longer_file_is_replaced_as_a_whole(tmp_path):
    write_json(tmp_path / "a.json", list(range(100)))
    write_json(tmp_path / "a.json", [])
    assert json.loads((tmp_path / "a.json").read_text()) == []
