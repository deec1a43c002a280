"""JSON files on the local disk. A file is replaced as a whole, so no reader ever sees half of one.

What is read is checked before it is used: `read_json(path, Survey)` returns a `Survey` whose fields have
their declared types, or raises an error that names the file, the field and the value (`json_types.py`).
"""

import json
import math
import os
from pathlib import Path
from typing import Any, TypeVar, overload

from jaxssl.data.stores.json_types import checked
from jaxssl.errors import InputError

Kind = TypeVar("Kind")

DEEPEST = 64  # levels of nesting; code that walks through a value calls itself once a level
LARGEST_FILE = 2**30  # bytes
LARGEST_INTEGER = 2**64


@overload
def read_json(path: Path) -> Any: ...
@overload
def read_json(path: Path, kind: type[Kind]) -> Kind: ...
def read_json(path: Path, kind: Any = Any) -> Any:
    """Returns the content of the JSON file at `path`, checked.

    Args:
      path: The file.
      kind: The type that the content must have, as `json_types.checked` takes it. Any allows all JSON.

    Raises:
      InputError: The file is missing, cannot be read, is not valid JSON, or holds something else.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} cannot be read (it is no file)")
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} cannot be read (it is larger than {LARGEST_FILE >> 20} MiB)")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error})") from error
    return checked(parse_json(content, str(path)), kind, str(path))


def parse_json(content: bytes | str, where: str) -> Any:
    """Returns the value of a JSON text.

    Args:
      content: The text, in UTF-8 where it is given as bytes.
      where: Name of the file, for the message.

    Raises:
      InputError: The text is not valid JSON in UTF-8, is nested too deeply, or holds a number that is not
        finite or too large, or half of a surrogate pair.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        value = json.loads(
            text, parse_int=_integer, parse_float=_finite, parse_constant=_no_constant
        )
        if _is_too_deep(value):
            raise RecursionError
        if "\\u" in text:  # one half of a surrogate pair is no text, and cannot be printed
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError(f"{where} cannot be read (it is nested too deeply)") from None
    except ValueError as error:
        problem = "it is empty" if not content.strip() else str(error)
        raise InputError(f"{where} cannot be read ({problem})") from error
    return value


def write_json(path: Path, content: Any, *, indent: int | None = 1) -> None:
    """Writes `content` as a JSON file that is either complete or absent, even after a power failure.

    The text goes to a temporary file in the same folder, which is flushed to the disk and then renamed
    to `path`. The temporary name holds the number of the process, so that processes that write the
    same file do not disturb each other.

    Args:
      path: File to write. Its folder must exist; an older file of this name is replaced.
      content: Anything that `json_text` accepts. Characters outside ASCII are written as UTF-8.
      indent: Spaces per level of nesting; the file then ends with a line break. `None` writes a
        single line without a line break.
    """
    text = json_text(content, indent=indent) + ("" if indent is None else "\n")
    new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def json_text(content: Any, *, indent: int | None = None) -> str:
    """Returns `content` as JSON; a number that is infinite or not a number becomes null, as JSON has none.

    Args:
      content: Anything that `json.dumps` accepts.
      indent: Spaces per level of nesting; None writes a single line.
    """
    try:
        return json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_with_nulls(content), indent=indent, ensure_ascii=False, allow_nan=False)


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_nulls(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_nulls(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _integer(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) >= LARGEST_INTEGER:
        raise ValueError(f"the number {digits[:12]}… of {len(digits)} digits is too large")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _is_too_deep(value: Any) -> bool:
    """Returns whether `value` has more than `DEEPEST` levels, without a call a level."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [
            part
            for outer in level
            if isinstance(outer, (dict, list))
            for part in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)
