"""Walks through folders of files, whose links are followed, and names what is left out."""

import glob
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

GLOB = frozenset("*?[")
MOST_NAMES = 3  # so many names of files that are left out are listed

Found = tuple[str, Path]  # a file: its name, relative to the folder, and its path


class LeftOut(NamedTuple):
    """A file, or a folder with all its files, that is not read."""

    name: str
    """Name relative to the folder or ZIP file."""
    reason: str
    """Why it is left out, as a phrase that follows a number, such as "hidden"."""


def in_words(left_out: Iterable[LeftOut]) -> str:
    """Counts the files of `left_out` by their reasons, and names the first of each, as a phrase."""
    names: dict[str, list[str]] = defaultdict(list)
    for file in left_out:
        names[file.reason].append(file.name)
    return "; ".join(
        f"{len(found):,} {reason} ({', '.join(found[:MOST_NAMES])}"
        f"{', …' if len(found) > MOST_NAMES else ''})"
        for reason, found in names.items()
    )


def is_hidden(name: str) -> bool:
    """Returns whether a part of a file's `name` begins with a point."""
    return any(part.startswith(".") for part in name.split("/"))


def walk(root: Path, prefix: str = "") -> Iterator[Found | LeftOut]:
    """Yields the files below a folder, and the folders there that are not read, in no certain order.

    Links are followed last, and each folder is read once; what a link to nowhere names is a file.

    Args:
      root: The folder.
      prefix: What precedes every name.
    """
    folders, links, seen = [(root, prefix)], list[tuple[Path, str]](), set[str]()
    while folders or links:
        folder, name = folders.pop() if folders else links.pop(0)
        real = os.path.realpath(folder)
        if real in seen:
            yield LeftOut(name.rstrip("/"), "a link to a folder that is read already")
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield LeftOut(
                name.rstrip("/") or ".", f"a folder that cannot be read: {error.strerror}"
            )
            continue
        for entry in entries:
            below = name + entry.name
            if not os.path.isdir(entry.path):
                yield below, Path(entry.path)
            elif entry.name.startswith("."):
                yield LeftOut(below, "hidden")
            else:
                (links if entry.is_symlink() else folders).append((Path(entry.path), below + "/"))


def matching(pattern: str) -> Iterator[Found | LeftOut]:
    """Yields the files that match a glob pattern and those below folders that match, each once.

    Names are relative to the part of the pattern before its first wildcard.

    Args:
      pattern: The pattern; `**` stands for any number of folders.
    """
    root, seen = _fixed_part(Path(pattern)), set[str]()
    for match in sorted(glob.glob(pattern, recursive=True)):
        path, name = Path(match), Path(match).relative_to(root).as_posix()
        prefix = "" if name == "." else f"{name}/"
        for file in walk(path, prefix) if path.is_dir() else [(name, path)]:
            if file[0] not in seen:
                yield file
            seen.add(file[0])


def _fixed_part(pattern: Path) -> Path:
    """Returns the folders before the first wildcard of a glob pattern."""
    parts = pattern.parts
    wild = next((i for i, part in enumerate(parts) if GLOB & set(part)), len(parts) - 1)
    return Path(*parts[:wild])
