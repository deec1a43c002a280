"""Makes the folder of a prepared set: written as FOLDER.partial, under a lock, renamed when complete.

    FOLDER.partial/unfinished.json     says that jaxssl has made this folder, and may empty it
    FOLDER.partial/jaxssl.lock         says which process writes into it

A set on an object store is made in a folder of this machine and then uploaded, its manifest last.
"""

import contextlib
import dataclasses
import errno
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxssl.data.prepared.files import upload_set
from jaxssl.data.prepared.manifest import MANIFEST, TOKENIZER, UPLOADING, partial_of
from jaxssl.data.preparing.target import check_can_be_made, target_of
from jaxssl.data.progress import TextProgress
from jaxssl.data.stores.descriptions import changes
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.stores.lease import LEASE, leased
from jaxssl.data.stores.locks import LOCK, Holder, hold_lock
from jaxssl.data.stores.store import Store, folder_here, is_url
from jaxssl.errors import InputError

UNITS, MARK = "units", "unfinished.json"
MADE_BY = "jaxssl prepare"

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
    folder = target_of(folder)
    partial = partial_of(folder)
    if (manifest := already(folder, description, read)) is not None:
        return manifest
    check_can_be_made(folder)
    with locked(partial, report):
        manifest = already(folder, description, read)  # another process may have made it
        if manifest is not None:
            return manifest
        manifest = _finished(partial, read)
        if manifest is not None:
            check_same(partial, manifest.config, description)
        else:
            manifest = write(partial)
        return put_in_place(manifest, folder)


def _finished(partial: Path, read: Callable[[str | Path], AnyManifest]) -> AnyManifest | None:
    """Returns the manifest that a run has left that was killed just before renaming; else None."""
    if not (partial / MANIFEST).is_file():
        return None
    try:
        return read(partial)
    except InputError:  # it is damaged, and is made again
        return None


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
            with leased(store):
                upload_set(work, store, manifest.fingerprint)
            shutil.rmtree(work)
        return manifest


def _already_there(
    store: Store, description: dict[str, Any], read: Callable[[str | Path], AnyManifest]
) -> AnyManifest | None:
    """Returns the manifest of a complete set on the store, None if there is none."""
    there = store.sizes().keys() - {LEASE}
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
            f"{folder} was made with another configuration ({differences[0]}) and is kept; choose another "
            "folder, or that configuration"
        )


@contextlib.contextmanager
def locked(partial: Path, report: TextProgress) -> Iterator[None]:
    """Locks a folder in which a set is made, and makes it if it is missing; a context manager.

    Other processes wait. The folder carries a mark, so that only folders of our own are ever emptied.

    Args:
      partial: Folder in which a set is made.
      report: Where a message is shown if another process has the lock.

    Raises:
      InputError: There is a file of that name, or a folder that jaxssl has not made.
    """

    def tell(holder: Holder | None) -> None:
        who = f" ({holder})" if holder else ""
        report.say(f"another process is writing {partial}{who}; waiting for it")

    with contextlib.ExitStack() as stack:
        while True:
            _make_own(partial)
            try:
                stack.enter_context(hold_lock(partial / LOCK, waiting=tell))
                break
            except FileNotFoundError:  # the process that had the lock has put the folder in place
                continue
        try:
            yield
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            path = error.filename2 or error.filename
            if path is None or not Path(path).is_relative_to(partial):
                raise
            raise InputError(
                f"{path} is not what jaxssl has put there; remove {partial} and run the same command again"
            ) from error
        finally:  # a folder without content is of no use to a later run
            if partial.is_dir() and {path.name for path in partial.iterdir()} == {LOCK, MARK}:
                shutil.rmtree(
                    partial.rename(partial.with_name(f"{partial.name}.{uuid.uuid4().hex}"))
                )


def _make_own(partial: Path) -> None:
    """Makes the folder `partial` with its mark, at once; one that is there already must have the mark."""
    if _is_own(partial):
        return
    new = partial.with_name(f"{partial.name}.{uuid.uuid4().hex}")
    try:
        new.mkdir(parents=True)
        write_json(new / MARK, {"made_by": MADE_BY})
        new.rename(partial)  # fails unless `partial` is missing or empty
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        if _is_own(partial):  # another process was faster
            return
        blocking = next(path for path in (partial, *partial.parents) if path.exists())
        kind = "folder" if blocking.is_dir() else "file"
        raise InputError(
            f"{partial} cannot be created, because there is a {kind} of that name, {blocking}, that jaxssl "
            "has not made; it is left alone: rename it, or choose another folder"
        ) from error


def _is_own(partial: Path) -> bool:
    """Returns whether jaxssl has made the folder, which its mark tells."""
    try:
        return bool(read_json(partial / MARK, dict[str, Any]).get("made_by") == MADE_BY)
    except InputError:
        return False


def put_in_place(manifest: AnyManifest, folder: Path) -> AnyManifest:
    """Removes the files that are not part of the set of `manifest`, and renames the folder to `folder`."""
    partial = partial_of(folder)
    kept = {MANIFEST, TOKENIZER, LOCK, MARK}
    for shard in (shard for parts in manifest.splits.values() for shard in parts):
        kept |= {shard.file, shard.documents_file}
    for path in partial.iterdir():
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if folder.is_dir():
        folder.rmdir()  # it is empty, otherwise `already` would have refused it
    partial.rename(folder)
    for name in (LOCK, MARK):
        (folder / name).unlink(missing_ok=True)
    return manifest
