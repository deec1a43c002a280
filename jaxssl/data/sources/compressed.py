"""Files as they are, or compressed: .gz, .xz and .zst are unpacked while they are read."""

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
    """The suffix without compression: `.jsonl` of `text.jsonl.xz`."""
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a file.

    Raises InputError for a file that is missing, empty, unreadable, cut short or of another kind
    than its suffix says.
    """
    if not path.is_file():
        raise InputError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}")
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
    except OSError as error:  # without a number: Arrow's way to say that a .zst is broken
        if path.suffix == ".zst" and error.errno is None:
            raise _broken(path, error) from error
        raise


def _open(path: Path) -> IO[bytes]:
    match path.suffix:
        case ".gz":
            return cast(IO[bytes], gzip.open(path, "rb"))
        case ".xz":
            return cast(IO[bytes], lzma.open(path, "rb"))
        case ".zst":
            # Arrow's reader goes on after the first frame and notices a file that is cut short;
            # zstandard's does neither
            import pyarrow

            return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def _broken(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is cut short or no {path.suffix} file ({error}); fetch it again")
