"""All formats give the same documents, compressed or not; what is wrong is told with the place."""

import gzip
import json
import lzma
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from jaxssl.data.sources.compressed import ReadLimits
from jaxssl.data.sources.texts import (
    Document,
    JsonLines,
    Parquet,
    Skipped,
    Source,
    TextFiles,
    source_from_path,
)
from jaxssl.errors import InputError

COMPRESS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
TEXTS = ["The first one.\nTwo lines.", "Das zweite, größer; 第三 🙂"]


def texts_of(source: Source) -> list[str]:
    return [document.text for document in source.documents()]


def write(path: Path, content: bytes | str, compression: str = "") -> str:
    data = content.encode() if isinstance(content, str) else content
    path = path.with_name(path.name + compression)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(COMPRESS[compression](data))
    return str(path)


def json_lines(texts: list[str]) -> str:
    return "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts))


def parquet(columns: dict) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue().to_pybytes()


def refusal(source, report=None) -> str:
    with pytest.raises(InputError) as caught:
        list(source.documents(report))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compression", COMPRESS)
def test_every_format_gives_the_same_documents(tmp_path, compression):
    text = "\ufeff" + "\n\n".join(TEXTS) + "\n"
    contents = {
        "a.txt#0": text,
        "b.txt#0": text.replace("\n", "\r\n"),
        "a.jsonl#1": json_lines(TEXTS),  # lines are counted from 1, as editors do
        "a.parquet#0": parquet({"n": [1, 2], "text": TEXTS}),
    }
    for name, content in contents.items():
        file, number = name.split("#")
        path = write(tmp_path / file, content, compression)
        found = source_from_path(path, documents="blank_line").documents()
        numbered = enumerate(TEXTS, int(number))
        assert list(found) == [(f"{file}{compression}#{i}", text) for i, text in numbered]


def test_a_folder_is_read_in_order_with_names_that_stay(tmp_path):
    folder = tmp_path / "texts"
    write(folder / "b.txt", "second\n")
    write(folder / "a" / "z.txt", "first\n")
    write(folder / "c.txt", "third\n\nwith a blank line\n", ".gz")
    write(folder / ".hidden" / "x.txt", b"\xff")
    write(folder / "nothing.txt", "")
    names = ["a/z.txt", "b.txt", "c.txt.gz"]
    assert [d.name for d in TextFiles(str(folder)).documents()] == names
    moved = folder.rename(tmp_path / "moved")
    documents = list(source_from_path(str(moved)).documents())
    assert [d.name for d in documents] == names
    assert documents[2].text == "third\n\nwith a blank line"
    assert [d.name for d in TextFiles(f"{moved}/*/*.txt").documents()] == ["a/z.txt"]
    assert [d.name for d in TextFiles(f"{moved}/**/*.txt").documents()] == names[:2]


def test_a_folder_of_tables_is_read_as_tables(tmp_path):
    write(tmp_path / "one" / "part.jsonl", json_lines(["one"]))
    write(tmp_path / "two" / "part.jsonl", json_lines(["two"]), ".zst")
    write(tmp_path / "README.md", "# notes")
    found = list(source_from_path(str(tmp_path)).documents())
    assert found == [Document("one/part.jsonl#1", "one"), Document("two/part.jsonl.zst#1", "two")]
    write(tmp_path / "three.parquet", parquet({"text": ["three"]}))
    with pytest.raises(InputError, match="several formats"):
        source_from_path(str(tmp_path))


def test_names_are_unique_and_do_not_depend_on_blank_documents(tmp_path):
    path = write(tmp_path / "a.txt", "\n \n\none\n\t\n\n\ntwo\nlines\n")
    found = list(TextFiles(path, documents_are="blank_line").documents())
    assert found == [Document("a.txt#0", "one"), Document("a.txt#1", "two\nlines")]
    path = write(tmp_path / "a.jsonl", '{"text": null}\n\n{"text": "  "}\n{"text": "one"}\n')
    assert list(JsonLines(path).documents()) == [Document("a.jsonl#4", "one")]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.txt", "does not exist"),
        ("none*.txt", "no file matches"),
        ("folder", "without any file"),
        ("empty.txt", "is empty"),
        ("blank.txt", "contains no text"),
        ("blank.jsonl", "contains no record"),
    ],
)
def test_missing_and_empty_input_is_refused(tmp_path, path, message):
    (tmp_path / "folder").mkdir()
    write(tmp_path / "empty.txt", "")
    write(tmp_path / "blank.txt", "\n \n")
    write(tmp_path / "blank.jsonl", "\n")
    with pytest.raises(InputError, match=message) as caught:
        list(source_from_path(str(tmp_path / path)).documents())
    assert str(tmp_path / path) in str(caught.value)


@pytest.mark.parametrize("compression", COMPRESS)
def test_undecodable_bytes_are_told_with_file_and_offset(tmp_path, compression):
    path = write(tmp_path / "a.txt", b"good\n\nhalf \xe4\xb8\n\nend\n", compression)
    source = TextFiles(path, documents_are="blank_line")
    assert refusal(source).startswith(f"{path}, byte 11: 0xe4 is not UTF-8")
    report = Skipped()
    source = TextFiles(path, documents_are="blank_line", on_bad_text="skip")
    name = Path(path).name
    assert list(source.documents(report)) == [(f"{name}#0", "good"), (f"{name}#2", "end")]
    assert (report.count, report.first) == (1, f"{path}, byte 11")


def test_undecodable_documents_are_skipped_in_every_format(tmp_path):
    paths = [
        write(tmp_path / "raw.jsonl", b'{"text": "good"}\n{"text": "\xff"}\n'),
        write(tmp_path / "half.jsonl", b'{"text": "\\ud800"}\n{"text": "good"}\n'),
        write(tmp_path / "a.parquet", parquet({"text": [b"\xff", b"good", None]})),
    ]
    for path in paths:
        report = Skipped()
        found = list(source_from_path(path, on_bad_text="skip").documents(report))
        assert [d.text for d in found] == ["good"]
        assert report.count == 1
        assert "set on_bad_text to 'skip'" in refusal(source_from_path(path))


def test_a_parquet_column_of_strings_that_are_none_is_told(tmp_path):
    bad = pyarrow.Array.from_buffers(
        pyarrow.string(), 2, [None, *pyarrow.array([b"good", b"\xff"]).buffers()[1:]]
    )
    path = write(tmp_path / "a.parquet", parquet({"text": bad}))
    assert "a.parquet#1: 0xff, byte 0 of 'text', is not UTF-8" in refusal(Parquet(path))


def test_a_column_that_is_not_there_names_those_that_are(tmp_path):
    path = write(tmp_path / "a.jsonl", json_lines(TEXTS))
    assert "a.jsonl#1 has no column 'body'; it has id, text" in refusal(JsonLines(path, "body"))
    assert "a.jsonl#1: 'id' contains 0, which is not text" in refusal(JsonLines(path, "id"))
    path = write(tmp_path / "a.parquet", parquet({"n": [1], "text": ["x"]}))
    assert "has no column 'body'; it has n, text" in refusal(Parquet(path, "body"))
    assert "a.parquet#0: 'n' contains 1, which is not text" in refusal(Parquet(path, "n"))
    path = write(tmp_path / "a.txt", "text")
    with pytest.raises(InputError, match="has no column 'body'"):
        source_from_path(path, column="body")


def test_a_dictionary_column_is_text(tmp_path):
    column = pyarrow.array(["x", "y", "x"]).dictionary_encode()
    path = write(tmp_path / "a.parquet", parquet({"text": column}))
    assert [d.text for d in Parquet(path).documents()] == ["x", "y", "x"]


def test_broken_json_is_told_with_its_line(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "x"}\n\n{"text": "y"\n')
    assert refusal(JsonLines(path)).startswith(f"{path}:3 is not a JSON object")
    path = write(tmp_path / "b.jsonl", '["x"]\n')
    assert refusal(JsonLines(path)) == f"{path}:1 is not a JSON object but ['x']"


def test_a_key_that_occurs_twice_is_refused(tmp_path):
    path = write(
        tmp_path / "a.jsonl", '{"text": "x", "n": 1, "n": 2}\n{"text": "x", "text": "y"}\n'
    )
    assert "a.jsonl:2 has a column twice, text; remove one" in refusal(JsonLines(path))


def test_truncated_parquet_in_a_compressed_file_is_refused(tmp_path):
    path = Path(write(tmp_path / "a.parquet", parquet({"text": ["x"] * 3000}), ".xz"))
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a .xz file" in refusal(Parquet(str(path)))


def test_truncated_text_is_refused(tmp_path):
    path = Path(write(tmp_path / "a.txt", "".join(f"{i * i}\n" for i in range(2000)), ".gz"))
    path.write_bytes(path.read_bytes()[:-5])
    assert "truncated" in refusal(TextFiles(str(path)))


def test_lines_that_end_in_carriage_returns(tmp_path):
    path = write(tmp_path / "mac.txt", "one\rtwo\r\rthree\r")
    assert texts_of(source_from_path(path)) == ["one\ntwo\n\nthree"]
    assert texts_of(source_from_path(path, documents="blank_line")) == ["one\ntwo", "three"]
    assert texts_of(source_from_path(path, documents="line")) == ["one", "two", "three"]


def test_a_line_may_be_a_document(tmp_path):
    path = write(tmp_path / "a.txt", "\ufeffone\n\n  two\r\nthree")
    found = list(TextFiles(path, "line").documents())
    assert [document.text for document in found] == ["one", "  two", "three"]
    assert [document.name for document in found] == ["a.txt#0", "a.txt#1", "a.txt#2"]


def test_a_document_has_a_longest_size(tmp_path):
    path = write(tmp_path / "a.txt", "a\n\n" + "line of text\n" * 200)
    for documents, where in (("file", "a.txt"), ("blank_line", "a.txt, the document at byte 3")):
        source = TextFiles(path, documents, limits=ReadLimits(document_mib=0.001))
        with pytest.raises(InputError, match=f"{where} is longer than 0.001 MiB"):
            list(source.documents())
    assert (
        len(list(TextFiles(path, "line", limits=ReadLimits(document_mib=0.001)).documents())) == 201
    )


def test_a_table_is_no_prose(tmp_path):
    """Only the column with the text is read; the header, other columns and quotation marks are not."""
    write(tmp_path / "tables" / "a.csv", 'id,text\n0,"one, two"\n1,"a\nb"\n2,\n')
    write(tmp_path / "tables" / "b.tsv", 'text\tid\n"three\t3\n', ".gz")
    source = source_from_path(str(tmp_path / "tables"))
    assert list(source.documents()) == [
        Document("a.csv#0", "one, two"),
        Document("a.csv#1", "a\nb"),
        Document("b.tsv.gz#0", '"three'),
    ]
    assert texts_of(source_from_path(str(tmp_path / "tables"), column="id")) == ["0", "1", "2", "3"]
    with pytest.raises(InputError, match="a.csv, line 2 has no column 'body'; it has id, text"):
        texts_of(source_from_path(str(tmp_path / "tables"), column="body"))
    path = write(tmp_path / "empty.csv", "text\n")
    with pytest.raises(InputError, match="empty.csv contains no row"):
        texts_of(source_from_path(path))
