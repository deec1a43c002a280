"""Makes the folder of a prepared set: written as FOLDER.partial, under a lock, renamed when complete.

A set on an object store is made in a folder of this machine and then uploaded, its manifest last.
"""

import contextlib
import dataclasses
import fcntl
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxssl.data.prepared.files import upload_set
from jaxssl.data.prepared.manifest import MANIFEST, TOKENIZER, UPLOADING, partial_of
from jaxssl.data.progress import TextProgress
from jaxssl.data.stores.descriptions import changes
from jaxssl.data.stores.store import Store, folder_here, is_url
from jaxssl.errors import InputError

UNITS, LOCK = "units", "lock"

AnyManifest = TypeVar("AnyManifest", bound=Any)
AnyShard = TypeVar("AnyShard", bound=Any)


def make_folder(
    folder: str | Path,
    description: dict[str, Any],
    report: TextProgress,
    *,
    read: Callable[[str | Path], AnyManifest],
    write: Callable[[Path], AnyManifest],
) -> AnyManifest:
    """Makes the folder of a prepared set, unless it is there already.

    Args:
      folder: The folder, or a URL of an object store.
      description: The configuration as JSON. A folder with the same description is left unchanged.
      report: Where messages are shown.
      read: Function that reads the manifest of a folder or URL.
      write: Function that writes the set into a folder, which may contain parts of an earlier run that
        was killed, and returns the manifest.

    Returns:
      The manifest of the set.

    Raises:
      InputError: The folder was made with another configuration, or contains something else.
    """
    if is_url(folder):
        return _make_there(Store(folder), description, report, read=read, write=write)
    folder = Path(folder)
    partial = partial_of(folder)
    if (manifest := already(folder, description, read)) is not None:
        return manifest
    with locked(partial, report):
        manifest = already(folder, description, read)  # another process may have made it
        if manifest is not None:
            return manifest
        if (partial / MANIFEST).is_file():  # a run was killed just before renaming
            manifest = read(partial)
            check_same(partial, manifest.config, description)
        else:
            manifest = write(partial)
        return put_in_place(manifest, folder)


def _make_there(
    store: Store,
    description: dict[str, Any],
    report: TextProgress,
    *,
    read: Callable[[str | Path], AnyManifest],
    write: Callable[[Path], AnyManifest],
) -> AnyManifest:
    """Makes the set in a folder of this machine, uploads it, its manifest last, and removes the folder."""
    work = folder_here(store.url, "prepared")
    if (manifest := _already_there(store, description, read)) is not None:
        return manifest
    with locked(work.with_name(f"{work.name}.upload"), report):
        manifest = _already_there(store, description, read)  # another process may have made it
        if manifest is None:
            manifest = make_folder(work, description, report, read=read, write=write)
            report.say(f"copying {work} to {store.url}")
            upload_set(work, store, manifest.fingerprint)
            shutil.rmtree(work)
        return manifest


def _already_there(
    store: Store, description: dict[str, Any], read: Callable[[str | Path], AnyManifest]
) -> AnyManifest | None:
    """Returns the manifest of a complete set on the store, None if there is none."""
    there = store.sizes()
    if not there or (UPLOADING in there and MANIFEST not in there):
        return None
    if MANIFEST not in there:
        raise InputError(f"{store.url} contains other files; choose another folder")
    manifest = read(store.url)
    check_same(store.url, manifest.config, description)
    return manifest


def units_of(partial: Path) -> Path:
    """Returns the folder of the finished units in `partial`, and removes unfinished files from it."""
    folder = partial / UNITS
    folder.mkdir(exist_ok=True)
    for left in folder.glob("*.tmp"):  # from a run that was killed, or a full disk
        left.unlink(missing_ok=True)
    return folder


def named(
    shards: Mapping[str, Sequence[AnyShard]],
) -> dict[str, tuple[AnyShard, ...]]:
    """Returns the `shards` of each split with the file names of the finished set."""
    return {
        split: tuple(_named(shard, split, i, len(parts)) for i, shard in enumerate(parts))
        for split, parts in shards.items()
    }


def _named(shard: AnyShard, split: str, number: int, count: int) -> AnyShard:
    """Returns a shard with its final file names, such as train-00000-of-00014.array_record."""
    stem = f"{split}-{number:05d}-of-{count:05d}"
    return dataclasses.replace(
        shard, file=f"{stem}.array_record", documents_file=f"{stem}.documents.npz"
    )


def move_units(
    old: Mapping[str, Sequence[Any]], new: Mapping[str, Sequence[Any]], partial: Path
) -> None:
    """Renames the files of finished units to their names in the finished set.

    Args:
      old: The shards of each split with their present file names.
      new: The same shards with their final file names.
      partial: Folder in which the set is made.
    """
    for split, shards in old.items():
        for before, after in zip(shards, new[split], strict=True):
            (partial / UNITS / before.file).replace(partial / after.file)
            (partial / UNITS / before.documents_file).replace(partial / after.documents_file)


def already(
    folder: Path, description: dict[str, Any], read: Callable[[str | Path], AnyManifest]
) -> AnyManifest | None:
    """Returns the manifest of a folder that has already been prepared.

    Args:
      folder: The folder.
      description: The configuration as JSON.
      read: Function that reads the manifest of a folder.

    Returns:
      The manifest; None if the folder is empty or does not exist.

    Raises:
      InputError: The folder was prepared with another configuration, or contains something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} exists and is not a prepared set; choose another folder")
    manifest = read(folder)
    check_same(folder, manifest.config, description)
    return manifest


def check_same(folder: str | Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Checks that a folder was made with the present configuration.

    Args:
      folder: The folder, for the error message.
      old: Description of the configuration that it was made with.
      new: Description of the present configuration.

    Raises:
      InputError: They differ; the message names the first difference.
    """
    if differences := changes(old, new):
        raise InputError(
            f"{folder} was made with another configuration ({differences[0]}); "
            "remove it or choose another folder"
        )


@contextlib.contextmanager
def locked(partial: Path, report: TextProgress) -> Iterator[None]:
    """Locks a folder, which is created if missing; a context manager.

    Other processes wait. The operating system releases the lock when the process ends, however that
    happens.

    Args:
      partial: Folder in which a set is made.
      report: Where a message is shown if another process has the lock.

    Raises:
      InputError: A file is where the folder should be.
    """
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"{partial} cannot be created, because there is a file of that name; remove it or "
            "choose another folder"
        ) from error
    with (partial / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report.say(f"another process is writing {partial}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:  # an empty folder is of no use to a later run
            if partial.is_dir() and {path.name for path in partial.iterdir()} == {LOCK}:
                (partial / LOCK).unlink()
                partial.rmdir()


def put_in_place(manifest: AnyManifest, folder: Path) -> AnyManifest:
    """Removes the files that are not part of the set of `manifest`, and renames the folder to `folder`."""
    partial = partial_of(folder)
    kept = {MANIFEST, TOKENIZER}
    for shard in (shard for parts in manifest.splits.values() for shard in parts):
        kept |= {shard.file, shard.documents_file}
    for path in partial.iterdir():
        if path.name in kept:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if folder.is_dir():
        folder.rmdir()  # it is empty, otherwise `already` would have refused it
    partial.rename(folder)
    return manifest
