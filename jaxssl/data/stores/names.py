"""Which names from elsewhere may become paths: manifests, keys of object stores and lists of files name them.

A name stands for a file inside one folder, whatever the file system or the store makes of it. So it is
refused before it is used, not searched for tricks afterwards.
"""

import re
from pathlib import Path
from typing import Any

from jaxssl.data.stores.json_types import Matches, short
from jaxssl.errors import InputError

LONGEST_NAME = (
    1024  # characters, as keys of object stores; file systems limit every part to 255 bytes
)
LONGEST_PART = 255  # bytes

_DRIVE = re.compile(r"[A-Za-z]:")
_FORBIDDEN = re.compile(r"[\\\x00-\x1f\x7f]")  # backslashes and control characters

SHA256 = Matches("[0-9a-f]{64}", "64 hexadecimal digits")
"""What a hash of a file looks like; for `Annotated[str, SHA256]`."""


def plain_name(name: Any, where: str) -> str:
    """Returns `name` if it names a file inside a folder on every system, such as `tokenizer/a.json`.

    Args:
      name: The name, which comes from a file or an object store.
      where: What holds the name, for the message.

    Raises:
      InputError: The name is not a text, is empty or too long, is absolute or has a drive letter, or has an
        empty part, a part `.` or `..`, a backslash or a control character.
    """
    if isinstance(name, str) and _is_plain(name):
        return name
    raise InputError(
        f"{where} names the file {short(name)}, which is not a plain relative name inside that folder; "
        "it is neither read nor written: remove it, or take the folder from where it was made"
    )


def inside(folder: Path, name: Any, where: str) -> Path:
    """Returns the path of the file `name` in `folder`, after `plain_name` has allowed the name.

    Args:
      folder: The folder.
      name: The name, which comes from a file or an object store.
      where: What holds the name, for the message.

    Raises:
      InputError: The name is not a plain relative name.
    """
    return folder / plain_name(name, where)


def _is_plain(name: str) -> bool:
    if len(name) > LONGEST_NAME or _FORBIDDEN.search(name) or _DRIVE.match(name):
        return False
    try:
        parts = [part.encode() for part in name.split("/")]
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return all(
        0 < len(part) <= LONGEST_PART and part not in (b".", b"..") and part.strip()
        for part in parts
    )


class PlainName:
    """Allows the name of a file directly in a folder; for `Annotated[str, PlainName()]`."""

    words = "a plain file name"
    """What is allowed, as part of an error message."""

    def allow(self, value: str) -> bool:
        """Returns whether `value` is the plain name of a file, without folders."""
        return "/" not in value and _is_plain(value)
