"""Opens plain and compressed files: .gz, .xz and .zst are decompressed while they are read."""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from jaxssl.errors import InputError

COMPRESSIONS = (".gz", ".xz", ".zst")
BROKEN = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)


def plain_suffix(path: Path) -> str:
    """Returns the suffix of `path` without that of the compression: `.jsonl` for `text.jsonl.xz`."""
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file for reading its decompressed bytes, as a context manager.

    Args:
      path: The file. The suffix .gz, .xz or .zst selects the decompression.

    Yields:
      A binary file object.

    Raises:
      InputError: The file is missing, empty, unreadable or truncated, or its content does not fit
        its suffix. Damage that is found while reading is raised in the caller's `with` block.
    """
    if not path.is_file():
        raise InputError(
            f"{path} {'is a folder, not a file' if path.is_dir() else 'does not exist'}"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    try:
        handle = _open(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        with handle:
            yield handle
    except BROKEN as error:
        raise _broken(path, error) from error
    except OSError as error:  # Arrow reports a broken .zst as an OSError without an error number
        if path.suffix == ".zst" and error.errno is None:
            raise _broken(path, error) from error
        raise


def _open(path: Path) -> IO[bytes]:
    """Opens a file with the decompression that its suffix names."""
    match path.suffix:
        case ".gz":
            return cast(IO[bytes], gzip.open(path, "rb"))
        case ".xz":
            return cast(IO[bytes], lzma.open(path, "rb"))
        case ".zst":
            # Unlike zstandard's reader, Arrow's goes on after the first frame and detects a
            # truncated file
            import pyarrow

            return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def _broken(path: Path, error: Exception) -> InputError:
    """Returns the error to raise for a compressed file that cannot be decompressed."""
    return InputError(
        f"{path} is truncated or not a {path.suffix} file ({error}); download or copy it again"
    )
