"""Records of tables: TSV is never quoted, CSV is; what is wrong is told in one line with its position."""

import json

import pytest

from jaxssl.data.labelled.records import read_records
from jaxssl.data.sources.compressed import ReadLimits
from jaxssl.data.sources.separated import read_separated
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "text,label,label\na,0,1\n"),
        ("a.tsv", "text\tlabel\tlabel\na\t0\t1\n"),
        ("a.jsonl", '{"text": "a", "label": 0, "label": 1}\n'),
    ],
)
def test_a_column_that_occurs_twice_is_refused(tmp_path, name, text):
    path = str(write(tmp_path / name, text))
    with pytest.raises(InputError, match=r"has (the|a) column .*(2 times|twice)"):
        list(read_records(path, "train", ["text", "label"]))
    assert len(list(read_records(path, "train", ["text"]))) == 1


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_long_fields_are_read(tmp_path, name):
    end = "," if name == "a.csv" else "\t"
    for columns, length in ((["text", "label"], 131_073), (["label"], 1), (["html", "text"], 3)):
        row = {"text": "x" * length, "html": "<" * 131_073, "label": "1"}  # html may be unused
        lines = (end.join(row), end.join(row.values()))
        path = str(write(tmp_path / name, "\n".join(lines)))
        assert list(read_records(path, "train", columns)) == [(f"{path}, line 2", row)]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_lines_may_end_in_carriage_returns_alone(tmp_path, name):
    end = "," if name == "a.csv" else "\t"
    path = str(write(tmp_path / name, f"text{end}label\ra{end}1\rb{end}0\r"))
    assert [record["text"] for _, record in read_records(path, "train", ["text"])] == ["a", "b"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_what_is_too_long_is_refused_before_it_fills_the_memory(tmp_path, name):
    """For CSV, an open quotation mark makes one field of all lines."""
    lines = {"a.csv": 'text,label\n"' + "x,1\n" * 999, "a.tsv": "text\tlabel\n" + "x" * 3000}
    path = str(write(tmp_path / name, lines.get(name, "x" * 3000)))
    with pytest.raises(InputError, match=r"longer than 0.002 MiB; .* raise limits.document_mib"):
        list(read_records(path, "train", ["text"], ReadLimits(document_mib=0.002)))
