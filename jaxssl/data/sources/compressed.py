"""Opens plain and compressed files: .gz, .bz2, .xz and .zst are decompressed while they are read.

A small file may decompress to more than a disk or the memory holds. `ReadLimits` bounds what is read.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from jaxssl.errors import InputError, check_above

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
BROKEN = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)
MIB = 2**20
FREE = 64 * MIB  # bytes that any compressed file may decompress to; `expansion` counts beyond them
CHUNK = MIB  # bytes that are read at a time


@dataclass(frozen=True)
class ReadLimits:
    """Upper limits of what is read from a file, so that no small file fills the memory or the disk."""

    document_mib: float = 256.0
    """Largest document, line or table cell, in MiB; above 0."""
    expansion: float = 200.0
    """Largest ratio of decompressed to compressed size of a file; above 0. The first 64 MiB are free."""

    def __post_init__(self) -> None:
        check_above(self, 0, "document_mib", "expansion")

    @property
    def document_bytes(self) -> int:
        """Returns the largest document in bytes."""
        return int(min(self.document_mib * MIB, 2**62))

    def decompressed_bytes(self, path: Path) -> int:
        """Returns how many bytes the file at `path` may decompress to."""
        return int(min(max(FREE, self.expansion * path.stat().st_size), 2**62))

    def too_long(self, where: str) -> InputError:
        """Returns the error to raise for a document or line at `where` that is too long."""
        return InputError(
            f"{where} is longer than {self.document_mib:g} MiB; split it, or raise "
            "limits.document_mib"
        )

    def too_much(self, path: str | Path) -> InputError:
        """Returns the error to raise for a file at `path` that decompresses to too much."""
        return InputError(
            f"{path} decompresses to more than {self.expansion:g} times its size; if that is right, "
            "raise limits.expansion"
        )


STANDARD = ReadLimits()


def plain_suffix(path: Path) -> str:
    """Returns the suffix of `path` without that of the compression: `.jsonl` for `text.jsonl.xz`."""
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


@contextmanager
def open_bytes(path: Path, limits: ReadLimits = STANDARD) -> Iterator[IO[bytes]]:
    """Opens a file for reading its decompressed bytes, as a context manager.

    Args:
      path: The file. The suffix .gz, .bz2, .xz or .zst selects the decompression.
      limits: Bounds what a compressed file may decompress to.

    Yields:
      A binary file object.

    Raises:
      InputError: The file is missing, empty, unreadable or truncated, or its content does not fit
        its suffix, or decompresses to too much. Damage that is found while reading is raised in the
        caller's `with` block.
    """
    if not path.is_file():
        raise InputError(
            f"{path} {'is a folder, not a file' if path.is_dir() else 'does not exist'}"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    try:
        handle = _open(path, limits)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        with handle:
            yield handle
    except BROKEN as error:
        raise _broken(path, error) from error
    except OSError as error:  # Arrow and bz2 report broken files as OSErrors without a number
        if path.suffix in COMPRESSIONS and error.errno is None:
            raise _broken(path, error) from error
        raise


def lines_of(handle: IO[bytes], path: Path, limits: ReadLimits = STANDARD) -> Iterator[bytes]:
    """Yields the lines of an open file, each with its line break.

    Lines end at "\\n". A file without any "\\n" is split at "\\r", as old Macintosh programs wrote it.

    Args:
      handle: The file.
      path: Its path, for the error message.
      limits: Bounds the length of a line.

    Raises:
      InputError: A line is longer than `limits.document_mib`.
    """
    most, number = limits.document_bytes, 0
    while line := handle.readline(most + 1):
        number += 1
        if len(line) > most:
            raise limits.too_long(f"{path}, line {number}")
        if number == 1 and not line.endswith(b"\n"):  # it is the whole file
            yield from (part for part in line.replace(b"\r", b"\r\n").split(b"\n") if part)
        else:
            yield line


def read_all(handle: IO[bytes], path: Path, limits: ReadLimits = STANDARD) -> bytes:
    """Returns the rest of an open file.

    Args:
      handle: The file.
      path: Its path, for the error message.
      limits: Bounds its length.

    Raises:
      InputError: It is longer than `limits.document_mib`.
    """
    content = bytearray()
    while chunk := handle.read(CHUNK):
        content += chunk
        if len(content) > limits.document_bytes:
            raise limits.too_long(str(path))
    return bytes(content)


class _Bounded(io.RawIOBase):
    """Passes on what `source` reads, and raises an error after `most` bytes."""

    def __init__(self, source: Any, most: int, error: InputError):
        self._source, self._left, self._error = source, most, error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = int(self._source.readinto(buffer))
        self._left -= size
        if self._left < 0:
            raise self._error
        return size

    def close(self) -> None:
        self._source.close()
        super().close()


def _open(path: Path, limits: ReadLimits) -> IO[bytes]:
    """Opens a file with the decompression that its suffix names."""
    if path.suffix not in COMPRESSIONS:
        return path.open("rb")
    bounded = _Bounded(_decompressed(path), limits.decompressed_bytes(path), limits.too_much(path))
    return cast(IO[bytes], io.BufferedReader(bounded))


def _decompressed(path: Path) -> Any:
    """Opens a compressed file for reading its decompressed bytes."""
    match path.suffix:
        case ".gz":
            return gzip.open(path, "rb")
        case ".bz2":
            return bz2.open(path, "rb")
        case ".xz":
            return lzma.open(path, "rb")
    # Unlike zstandard's reader, Arrow's goes on after the first frame and detects a truncated file
    import pyarrow

    return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))


def _broken(path: Path, error: Exception) -> InputError:
    """Returns the error to raise for a compressed file that cannot be decompressed."""
    return InputError(
        f"{path} is truncated or not a {path.suffix} file ({error}); download or copy it again"
    )
