"""Files as they are, or compressed: .gz, .xz and .zst are unpacked while they are read."""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from jaxssl.errors import InputError

COMPRESSIONS = (".gz", ".xz", ".zst")
BROKEN = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)


def plain_suffix(path: Path) -> str:
    """The suffix without compression: `.jsonl` of `text.jsonl.xz`."""
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The unpacked bytes of a file. Raises InputError if it is missing, empty, or cut short."""
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    try:
        with _open(path) as handle:
            yield handle
    except BROKEN as error:
        raise _broken(path, error) from error
    except OSError as error:  # Arrow's way to say that a .zst is broken
        if path.suffix == ".zst" and error.errno is None:
            raise _broken(path, error) from error
        raise


def _open(path: Path) -> BinaryIO:
    match path.suffix:
        case ".gz":
            return cast(BinaryIO, gzip.open(path, "rb"))
        case ".xz":
            return cast(BinaryIO, lzma.open(path, "rb"))
        case ".zst":  # Arrow's reader notices a file that is cut short; zstandard's does not
            import pyarrow

            return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def _broken(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is cut short or no {path.suffix} file ({error}); fetch it again"
    )
