"""Files that a command writes: checked before the work begins, replaced only by what is whole."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from jaxssl.data.stores.store import is_url
from jaxssl.errors import InputError


def check_output_file(path: str | Path, flag: str, *, make_folder: bool = False) -> Path:
    """Checks that a file can be written, before the work begins whose result it will hold.

    Args:
      path: The file. An older file of this name may exist.
      flag: Name of the flag in error messages, such as "--into".
      make_folder: Whether the folder is made where it is missing.

    Returns:
      The path; where it is a symbolic link, the path of its target.

    Raises:
      InputError: The path is a folder or no regular file, its folder does not exist, or writing is
        forbidden there.
    """
    target = Path(path)
    if not str(path) or target.is_dir():
        raise InputError(f"{flag} {str(path)!r} is a folder; name a file in it")
    target = target.resolve()
    if make_folder:
        with contextlib.suppress(OSError):  # a folder that cannot be made is still missing below
            target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.is_dir():
        raise InputError(
            f"{flag} {path}: there is no folder {target.parent}; make it, or choose another file"
        )
    if target.exists() and not target.is_file():
        raise InputError(f"{flag} {path} is no regular file; choose another one")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(
            f"{flag} {path}: the folder {target.parent} is read-only; choose another folder"
        )
    return target


def check_output_folder(path: str | Path, flag: str) -> None:
    """Checks that a folder can be made or written to, before the work begins.

    Args:
      path: The folder, which need not exist yet; a URL of an object store is let through.
      flag: Name of the flag in error messages, such as "--run".

    Raises:
      InputError: The path or a part of it is a file, or writing is forbidden there.
    """
    if is_url(path):
        return
    target = Path(path).absolute()
    there = next(part for part in (target, *target.parents) if os.path.lexists(part))
    if not there.is_dir():
        raise InputError(f"{flag} {path}: {there} is no folder; choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{flag} {path}: {there} is read-only; choose another folder")


@contextlib.contextmanager
def replaced_when_whole(path: Path) -> Iterator[Path]:
    """Returns a context with a path to write to, whose file replaces `path` when the context ends.

    After an error the old file is still there, and nothing new.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
