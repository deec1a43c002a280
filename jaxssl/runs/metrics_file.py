"""The file `metrics.jsonl` of a run: one JSON object a line, and each step once, also after a resume."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from jaxssl.data.stores.json_files import json_text, parse_json
from jaxssl.errors import InputError


class MetricsFile:
    """Appends records to `metrics.jsonl`.

    Args:
      path: The file. Of an older one, half a line, which a killed run may have left, and records of
        steps after `start`, which are about to be taken again, are removed.
      start: Steps that the run has taken already.

    Raises:
      InputError: There is something else than a file.
    """

    def __init__(self, path: Path, start: int):
        if path.exists():
            if not path.is_file():
                raise InputError(f"{path} is no file; move it away")
            _keep_until(path, start)
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        """Writes a record as one line. Numbers that are not finite become null, as JSON has none."""
        self._file.write(json_text(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the records of a `metrics.jsonl` that have a kind and a step, in the order of the file.

    Lines that are no such records are left out: a killed run may have left half a line.

    Args:
      path: The file; one that does not exist has no records.
    """
    for line in _lines(path):
        record = _record(line)
        if record is not None and isinstance(record.get("kind"), str) and _step(record) is not None:
            yield record


def _keep_until(path: Path, start: int) -> None:
    """Removes half lines, and records of steps after `start`. The file is replaced as a whole."""
    lines = _lines(path)
    kept = [
        line
        for line in lines
        if (record := _record(line)) is not None and (_step(record) or 0) <= start
    ]
    if b"".join(line + b"\n" for line in kept) == path.read_bytes():
        return
    new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    new.write_bytes(b"".join(line + b"\n" for line in kept))
    new.replace(path.resolve())


def _lines(path: Path) -> list[bytes]:
    if not path.is_file():
        return []
    return [line for line in path.read_bytes().split(b"\n") if line]


def _record(line: bytes) -> dict[str, Any] | None:
    """Returns the JSON object in a line, or None if there is none."""
    # Earlier versions wrote numbers that are not finite as NaN, Infinity and -Infinity.
    line = re.sub(rb"-?\b(NaN|Infinity)\b", b"null", line)
    try:
        value = parse_json(line, "a line")
    except InputError:
        return None
    return value if isinstance(value, dict) else None


def _step(record: dict[str, Any]) -> int | None:
    step = record.get("step")
    return step if isinstance(step, int) and not isinstance(step, bool) and step >= 0 else None
