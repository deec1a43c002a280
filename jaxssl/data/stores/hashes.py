"""Hashes of files."""

import errno
import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Returns the sha256 of the file at `path`, in hexadecimal. The file is read in pieces.

    Raises:
      OSError: It cannot be read, or is no file, such as a pipe, which would be waited for.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
