"""Parquet files: rows and columns by name, damage is told in one line, and a small file stays small."""

import gzip

import pyarrow
import pyarrow.parquet
import pytest

from jaxssl.data.sources.compressed import ReadLimits
from jaxssl.data.sources.parquet import read_parquet, read_parquet_column
from jaxssl.errors import InputError


def parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return str(path)


def test_rows_are_counted_from_zero(tmp_path):
    path = parquet(tmp_path / "a.parquet", n=[1, 2], text=["x", "y"])
    assert list(read_parquet(path, ("text",))) == [
        ("a.parquet#0", {"text": "x"}),
        ("a.parquet#1", {"text": "y"}),
    ]
    assert [record for _, record in read_parquet(path)][1] == {"n": 2, "text": "y"}
    assert list(read_parquet_column(path, "text")) == [("a.parquet#0", b"x"), ("a.parquet#1", b"y")]
    with pytest.raises(InputError, match="has no column 'body'; it has n, text"):
        list(read_parquet(path, ("body",)))


def test_a_column_that_occurs_twice_is_refused(tmp_path):
    columns = [pyarrow.array(["x"]), pyarrow.array(["y"]), pyarrow.array([1])]
    table = pyarrow.Table.from_arrays(columns, names=["text", "text", "label"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    for read in (read_parquet, read_parquet_column):
        columns = ("text",) if read is read_parquet else "text"
        with pytest.raises(InputError, match="a.parquet has the column 'text' 2 times; rename all"):
            list(read(str(tmp_path / "a.parquet"), columns))
    assert list(read_parquet_column(str(tmp_path / "a.parquet"), "label")) == [("a.parquet#0", 1)]


def test_damaged_parquet_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    parquet(path, text=[str(i) for i in range(3000)])
    data = path.read_bytes()
    damaged = data[:500] + bytes(200) + data[700:]
    for content in (data[:-9], data[: len(data) // 2], b"PAR1", damaged):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{path}") as caught:
            list(read_parquet_column(str(path), "text"))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.parquet", "a.parquet.gz"])
def test_a_small_file_does_not_become_huge(tmp_path, monkeypatch, name):
    """100 MB of text, stored once as an entry of a dictionary."""
    path = tmp_path / name
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a" * 100_000] * 1000}), path)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    monkeypatch.setattr("jaxssl.data.sources.compressed.FREE", 10_000_000)
    with pytest.raises(InputError, match=f"{name} decompresses to more than 200 times its size"):
        list(read_parquet_column(str(path), "text"))
    with pytest.raises(InputError, match="row 0 is longer than 0.05 MiB"):
        list(read_parquet_column(str(path), "text", ReadLimits(0.05, 1e6)))
    values = read_parquet_column(str(path), "text", ReadLimits(expansion=1e6))
    assert sum(len(value) for _, value in values) == 100_000_000
