"""Compressed files: read like plain ones; truncated and foreign ones are refused with their name."""

import gzip
import lzma
from pathlib import Path

import pytest
import zstandard

from jaxssl.data.sources.compressed import open_bytes, plain_suffix
from jaxssl.errors import InputError

COMPRESS = {
    "": lambda data: data,
    ".gz": gzip.compress,
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


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
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
