"""What a part of the benchmark has found, in a file that is up to date even if the part is stopped."""

import json
import os
from pathlib import Path
from typing import Any

LONGEST = 300  # characters of an error in the tables
NO_MEMORY = ("RESOURCE_EXHAUSTED", "out of memory")


class NotHere(Exception):
    """What the part needs is not on this machine: an accelerator, or the package of a peer."""


class Record:
    """Named findings of a part; each addition is written to the file at once."""

    def __init__(self, path: str | Path):
        self.path, self.found = Path(path), {}

    def add(self, **found: Any) -> None:
        """Adds findings, in types that JSON has, and writes all of them."""
        self.found |= found
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(self.found), encoding="utf-8")
        os.replace(beside, self.path)

    def add_error(self, error: BaseException) -> None:
        """Adds an error as one line, and whether it says that the device's memory was full."""
        line = error_line(error)
        missing = isinstance(error, NotHere)
        full = any(words.lower() in str(error).lower() for words in NO_MEMORY)
        self.add(error=str(error) if missing else line, not_here=missing, out_of_memory=full)


def error_line(error: BaseException) -> str:
    """Returns the kind of an error and the first line of its message, shortened."""
    lines = str(error).strip().splitlines() or [""]
    line = f"{type(error).__name__}: {lines[0]}".rstrip(": ")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def read_record(path: str | Path) -> dict[str, Any]:
    """Reads what a part has written; nothing where it has written nothing."""
    path = Path(path)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
