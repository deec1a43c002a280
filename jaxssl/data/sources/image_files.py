"""Lists the files of images in folders and ZIP files, and what is left out there."""

import os
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from jaxssl.data.sources.decode_image import Unreadable
from jaxssl.data.sources.folders import GLOB, Found, LeftOut, in_words, matching, walk
from jaxssl.errors import InputError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp"),
    *(".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)
ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
MOST_BYTES = 1 << 29  # of one file of an image
MOST_UNPACKED, SMALL = 200, 1 << 24  # times the packed bytes, for files of more bytes than SMALL

Content = bytes | np.ndarray | Unreadable  # the bytes of a file of an image, or pixels


class ImageFile(NamedTuple):
    """A file of an image."""

    name: str
    """Name relative to the folder or ZIP file, with "/" between folders."""
    read: Callable[[], Content]
    """Function that reads the file; it returns an `Unreadable` on failure."""


def list_images(path: str) -> Iterator[ImageFile]:
    """Yields the files of images below `path`, sorted by name.

    Args:
      path: A folder, whose links are followed, a ZIP file, one image or a glob pattern. Names are
        relative to it.

    Raises:
      InputError: The path does not exist, cannot be read, or contains no image.
    """
    left_out, found = [], False
    for file in list_files(path):
        if isinstance(file, ImageFile):
            found = True
            yield file
        else:
            left_out.append(file)
    if not found:
        raise InputError(_no_image(path, left_out))


def list_files(path: str) -> list[ImageFile | LeftOut]:
    """Lists the files of images below `path` and the files that are left out, sorted by name.

    Args:
      path: A folder, a ZIP file, one image or a glob pattern.

    Raises:
      InputError: The path does not exist or cannot be read.
    """
    given = Path(path)
    if path and given.is_dir():
        found = [_on_disk(file) for file in walk(given)]
    elif given.is_file():
        found = list(_members(path)) if _is_zip(given) else [_on_disk((given.name, given))]
    elif GLOB & set(path):
        found = [_on_disk(file) for file in matching(path)]
        if not found:
            raise InputError(f"no file matches {path}")
    else:
        raise InputError(
            f"{path or repr(path)} does not exist; give a folder, a ZIP, an image or a glob"
        )
    return sorted(found, key=lambda file: file.name)


def _no_image(path: str, left_out: list[LeftOut]) -> str:
    """Returns the message for a path without an image; it names what there is instead."""
    for file in left_out:
        suffix = PurePosixPath(file.name).suffix.lower()
        where = path if Path(path).is_file() else f"{path}/{file.name}"
        if suffix == ".zip":
            return f"{path} contains no image, but a ZIP; give {where}, or unpack it"
        if suffix in ARCHIVES:
            return f"{where} is an archive, which is not read; unpack it and give the folder"
    formats = "JPEG, PNG, GIF, WebP, BMP, TIFF or PPM"
    instead = f": {in_words(left_out)}" if left_out else "; it is empty"
    return f"{path} contains no image ({formats}){instead}"


def _on_disk(found: Found | LeftOut) -> ImageFile | LeftOut:
    """Returns the file of an image on disk, or why it is left out. A link to nowhere is read in vain."""
    if isinstance(found, LeftOut):
        return found
    name, file = found
    if reason := _reason(name):
        return LeftOut(name, reason)
    if file.exists() and not file.is_file():
        return LeftOut(name, "no regular file")
    return ImageFile(name, partial(_read_file, str(file)))


def _reason(name: str) -> str:
    """Returns why a file of this name is not read as an image; "" if it is."""
    if any(part.startswith((".", "__MACOSX")) for part in name.split("/")):
        return "hidden"
    return "" if PurePosixPath(name).suffix.lower() in SUFFIXES else "of another type"


def _is_zip(path: Path) -> bool:
    """Returns whether a file is a ZIP. Raises InputError for one without an end."""
    if zipfile.is_zipfile(path):
        return True
    with path.open("rb") as file:
        if path.suffix.lower() == ".zip" or file.read(4) == b"PK\3\4":
            raise InputError(
                f"{path} is no whole ZIP: its list of files, which stands at the end, is missing; "
                "download or copy it again"
            )
    return False


def _members(path: str) -> Iterator[ImageFile | LeftOut]:
    """Yields the files of a ZIP. Nothing is unpacked, so names that lead out of it are harmless."""
    version = version_of(path)
    seen: set[str] = set()
    for member in _archive(path, version).infolist():
        parts = [part for part in member.filename.replace("\\", "/").split("/") if part]
        if member.is_dir() or member.filename.endswith("\\"):
            continue
        name = "/".join(part for part in parts if part not in (".", ".."))
        if name in seen:
            yield LeftOut(member.filename, "of the same name as another file")
        elif reason := _reason(name):
            yield LeftOut(name, reason)
        else:
            yield ImageFile(name, partial(_read_member, path, version, member.filename))
        seen.add(name)


def _read_file(path: str) -> Content:
    """Reads a file; a failure is returned, not raised, so that one bad file can be skipped."""
    try:
        size = os.path.getsize(path)
        return Path(path).read_bytes() if size <= MOST_BYTES else _too_large(size)
    except OSError as error:
        return Unreadable(str(error))


def _read_member(path: str, version: tuple[int, int], name: str) -> Content:
    """Reads a file of a ZIP; a failure is returned, not raised."""
    try:
        member = _archive(path, version).getinfo(name)
        if reason := unpacks_to_too_much(member):
            return Unreadable(reason)
        too_large = member.file_size > MOST_BYTES
        return _too_large(member.file_size) if too_large else _archive(path, version).read(name)
    except Exception as error:  # damaged ZIP files raise errors of many kinds
        return Unreadable(str(error) or type(error).__name__)


def unpacks_to_too_much(member: zipfile.ZipInfo) -> str:
    """Returns why the file `member` of a ZIP is not unpacked; "" if its size is plausible."""
    size, packed = member.file_size, member.compress_size
    if size <= SMALL or size <= MOST_UNPACKED * packed:
        return ""
    return f"it unpacks from {packed:,} to {size:,} bytes, more than {MOST_UNPACKED} times as many"


def _too_large(size: int) -> Unreadable:
    return Unreadable(f"its {size:,} bytes exceed the limit of {MOST_BYTES:,}")


@lru_cache(maxsize=8)
def _archive(path: str, version: tuple[int, int]) -> zipfile.ZipFile:
    """Opens a ZIP once; `version` makes the cache miss when the file was replaced."""
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # as above
        raise InputError(f"{path} cannot be read as a ZIP ({error})") from error


def version_of(path: str) -> tuple[int, int]:
    """Returns the modification time and size of the file `path`, by which a replaced one is recognised.

    Raises:
      InputError: The file does not exist.
    """
    try:
        found: Any = os.stat(path)
    except OSError as error:
        raise InputError(f"{path} does not exist; give a folder, a ZIP or an array") from error
    return found.st_mtime_ns, found.st_size
