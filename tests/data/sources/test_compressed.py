"""Compressed files: read like plain ones; truncated and foreign ones are refused with their name."""

import bz2
import gzip
import lzma
from pathlib import Path

import pytest
import zstandard

from jaxssl.data.sources.compressed import (
    ReadLimits,
    lines_of,
    open_bytes,
    plain_suffix,
    read_all,
)
from jaxssl.errors import InputError

COMPRESS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
CONTENT = "".join(f"line {i * i}\n" for i in range(2000)).encode()


def read(path):
    with open_bytes(path) as handle:
        return handle.read()


@pytest.mark.parametrize("suffix", COMPRESS)
def test_the_bytes_are_those_of_the_plain_file(tmp_path, suffix):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](CONTENT))
    assert read(path) == CONTENT
    with open_bytes(path) as handle:
        assert list(handle)[:2] == [b"line 0\n", b"line 1\n"]
    if suffix:  # two frames or members, as parallel compressors write them
        path.write_bytes(COMPRESS[suffix](CONTENT) + COMPRESS[suffix](b"more"))
        assert read(path) == CONTENT + b"more"


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_truncated_and_foreign_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"a.txt{suffix}"
    data = COMPRESS[suffix](CONTENT)
    for length in (5, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=f"a.txt{suffix} is truncated"):
            read(path)
    path.write_bytes(b"plain text with the wrong suffix")
    with pytest.raises(InputError, match=f"not a {suffix} file"):
        read(path)


def test_missing_and_empty_files(tmp_path):
    (tmp_path / "empty.gz").write_bytes(b"")
    for name, message in (("none", "does not exist"), ("empty.gz", "is empty"), ("", "a folder")):
        with pytest.raises(InputError, match=message):
            read(tmp_path / name)


def test_an_error_of_the_caller_stays_its_own(tmp_path):
    (tmp_path / "a.txt").write_bytes(CONTENT)
    with pytest.raises(OSError, match="of the caller"), open_bytes(tmp_path / "a.txt"):
        raise OSError("of the caller")


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.jsonl.xz", ".jsonl"), ("a.jsonl", ".jsonl"), ("a.gz", ""), ("a.b.txt.zst", ".txt")],
)
def test_the_suffix_without_compression(name, suffix):
    assert plain_suffix(Path(name)) == suffix


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](bytes(10_000_000)))
    with open_bytes(path) as handle:  # small enough for anybody
        assert len(handle.read()) == 10_000_000
    monkeypatch.setattr("jaxssl.data.sources.compressed.FREE", 1_000_000)
    with pytest.raises(InputError, match=f"a.txt{suffix} decompresses to more than 200 times"):
        read(path)
    with open_bytes(path, ReadLimits(expansion=1e6)) as handle:
        assert len(handle.read()) == 10_000_000


def test_a_line_and_a_file_have_a_longest_size(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"short\n" + b"x" * 2000 + b"\n")
    limits = ReadLimits(document_mib=0.001)
    with open_bytes(path) as handle, pytest.raises(InputError, match="a.txt, line 2 is longer"):
        list(lines_of(handle, path, limits))
    with open_bytes(path) as handle, pytest.raises(InputError, match="a.txt is longer than 0.001"):
        read_all(handle, path, limits)
    for name in ("document_mib", "expansion"):
        for value in (0, -1, float("nan")):
            with pytest.raises(InputError, match=f"{name}={value} must be above 0"):
                ReadLimits(**{name: value})


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\nb\r\n\nc", [b"a\n", b"b\r\n", b"\n", b"c"]),
        (b"a\rb\r\rc\r", [b"a\r", b"b\r", b"\r", b"c\r"]),  # of an old Macintosh
        (b"10 %\r20 %\r\nb", [b"10 %\r20 %\r\n", b"b"]),  # a carriage return inside of a line
        (b"a\x85b\x0cc\xe2\x80\xa8d", [b"a\x85b\x0cc\xe2\x80\xa8d"]),
    ],
)
def test_what_a_line_is(tmp_path, content, lines):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with open_bytes(path) as handle:
        assert list(lines_of(handle, path)) == lines
