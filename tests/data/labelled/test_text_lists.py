"""Texts of a file, one a line or one a row."""

import json

import pytest

from jaxssl.data.labelled.text_lists import read_lines, read_texts
from jaxssl.errors import InputError


def test_lines_end_at_line_breaks_and_nowhere_else(tmp_path):
    path = tmp_path / "texts"
    path.write_bytes("\ufeffa\u2028b\r\nc\x85\nd\x0ce\x1cf\n\ng\rh\n".encode())
    assert read_lines(path) == ["a\u2028b", "c\x85", "d\x0ce\x1cf", "", "g\rh"]
    path.write_bytes(b"a\nb")
    assert read_lines(path) == ["a", "b"]
    path.write_bytes(b"")
    assert read_lines(path) == []


def test_rows_of_tables_and_lines_of_text(tmp_path):
    (tmp_path / "t.txt").write_text("one\n\ntwo\n", encoding="utf-8")
    (tmp_path / "t.tsv").write_text('name\ttext\nx\t"one"\ny\t\n', encoding="utf-8")
    lines = [{"text": "one", "id": 7}, {"text": None, "id": 8}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = read_texts(tmp_path / "t.txt")
    assert (found.texts, found.ids) == (["one", "", "two"], ["0", "1", "2"])
    found = read_texts(tmp_path / "t.tsv", id_column="name")
    assert (found.texts, found.ids) == (['"one"', ""], ["x", "y"])
    found = read_texts(tmp_path / "t.jsonl", id_column="id")
    assert (found.texts, found.ids) == (["one", ""], ["7", "8"])


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("t.txt", "body", "t.txt is plain text and has no column 'body'"),
        ("none.csv", None, "none.csv does not exist; give a file with texts"),
        ("t.csv", None, "has no column 'text'; it has body"),
        ("empty.csv", "body", "empty.csv contains no row"),
        ("t.jsonl", "body", "'body' contains 5, which is not text"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, column, message):
    (tmp_path / "t.txt").write_text("one\n", encoding="utf-8")
    (tmp_path / "t.csv").write_text("body\none\n", encoding="utf-8")
    (tmp_path / "empty.csv").write_text("body\n", encoding="utf-8")
    (tmp_path / "t.jsonl").write_text('{"body": 5}\n', encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_texts(tmp_path / name, column)
