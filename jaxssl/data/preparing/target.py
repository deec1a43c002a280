"""Checks the folder that a prepared set is written to, before any work is done."""

import os
import tempfile
from pathlib import Path

from jaxssl.errors import InputError, is_full_disk

LONGEST_NAME = 200  # bytes; file systems allow 255, and endings such as .partial are added


def target_of(folder: str | Path) -> Path:
    """Returns the path of the local folder that a set is written to; a link is followed.

    Args:
      folder: The folder as it was given.

    Raises:
      InputError: The path names no folder, or no file system allows such a name.
    """
    shown = str(folder)
    if "\0" in shown or Path(folder).name in ("", ".."):
        raise InputError(f"{shown!r} names no new folder; give one such as prepared/text")
    path = Path(folder)
    if longest := next((name for name in path.parts if len(os.fsencode(name)) > LONGEST_NAME), ""):
        raise InputError(
            f"the name {longest[:20]}… is longer than {LONGEST_NAME} bytes; choose another folder"
        )
    try:
        target = path.resolve() if path.is_symlink() else path
    except (OSError, RuntimeError):  # a loop of links, before Python 3.13
        target = path
    if target.is_symlink():
        raise InputError(
            f"{shown!r} is a loop of links, which cannot be followed; choose another folder"
        )
    return target


def check_can_be_made(folder: Path) -> None:
    """Makes the folder above `folder`, and checks that folders can be made there.

    Raises:
      InputError: They cannot.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".jaxssl-", dir=folder.parent):
            pass
    except OSError as error:
        if is_full_disk(error):
            raise
        raise InputError(
            f"{folder} cannot be made ({error.strerror or error}); choose another folder"
        ) from error
