"""sha256 of files."""

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """In hexadecimal; read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
