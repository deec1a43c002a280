"""JSON files on the local disk. A file is replaced as a whole, so no reader ever sees half of one."""

import json
import os
from pathlib import Path
from typing import Any

from jaxssl.errors import InputError


def read_json(path: Path) -> Any:
    """Returns the content of the JSON file at `path`.

    Raises:
      InputError: The file is missing, cannot be read, or is not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error})") from error


def write_json(path: Path, content: Any, *, indent: int | None = 1) -> None:
    """Writes `content` as a JSON file that is either complete or absent, even after a power failure.

    The text goes to a temporary file in the same folder, which is flushed to the disk and then renamed
    to `path`. The temporary name holds the number of the process, so that processes that write the
    same file do not disturb each other.

    Args:
      path: File to write. Its folder must exist; an older file of this name is replaced.
      content: Anything that `json.dumps` accepts. Characters outside ASCII are written as UTF-8.
      indent: Spaces per level of nesting; the file then ends with a line break. `None` writes a
        single line without a line break.
    """
    new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with new.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=indent, ensure_ascii=False)
        if indent is not None:
            file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
