"""Records of tables: TSV is never quoted, CSV is; what is wrong is told in one line with its position."""

import json

import pytest

from jaxssl.data.labelled.records import read_records, read_separated
from jaxssl.errors import InputError


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_tabs_are_never_quoted(tmp_path):
    path = write(tmp_path / "a.tsv", 'text\tlabel\r\na "b, c\t1\r\n\r\nd\t\r\n')
    assert list(read_separated(path, tabs=True)) == [
        (f"{path}, line 2", {"text": 'a "b, c', "label": "1"}),
        (f"{path}, line 4", {"text": "d", "label": ""}),
    ]


def test_commas_may_be_quoted(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"a ""b"", c\nd",1\n\ne,2\n')
    assert list(read_separated(path, tabs=False)) == [
        (f"{path}, line 3", {"text": 'a "b", c\nd', "label": "1"}),
        (f"{path}, line 5", {"text": "e", "label": "2"}),
    ]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path, name):
    write(tmp_path / name, "text\nx\n", "utf-8-sig")
    assert [record for _, record in read_records(str(tmp_path / name), "train", ["text"])] == [
        {"text": "x"}
    ]


def test_lines_of_json(tmp_path):
    path = write(tmp_path / "a.jsonl", json.dumps({"text": "x", "label": 1}))
    assert list(read_records(str(path), "dev", ["text", "label"])) == [
        ("a.jsonl#1", {"text": "x", "label": 1})
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "\n", "a.tsv is empty"),
        ("a.tsv", "a\tb\n1\n", "line 2 has 1 columns, but the header has 2: a, b"),
        ("a.tsv", "text\nx\n", "line 2 has no column 'label'; it has text"),
        ("a.csv", 'text,label\n"x" y,1\n', "line 2 .*not valid CSV"),
        ("a.txt", "text\n", "use .tsv, .csv, .jsonl or .parquet"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(InputError, match=message) as caught:
        list(read_records(str(path), "train", ["text", "label"]))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_told_with_their_offset(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"text\nab\xff\n")
    with pytest.raises(InputError, match="a.tsv, byte 7: 0xff is not UTF-8"):
        list(read_records(str(tmp_path / "a.tsv"), "train", ["text"]))
