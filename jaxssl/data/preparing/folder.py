"""A prepared set as a folder: written beside its place, under a lock, and renamed when it is whole."""

import contextlib
import dataclasses
import fcntl
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxssl.data.prepared.manifest import MANIFEST, TOKENIZER, UPLOADING, partial_of, upload_set
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
    """The manifest of `folder`, which `write` fills in another place if it is not there yet.

    A folder that holds the same already is left as it is. Raises InputError for one that was made
    with another configuration than `description`, and for one that holds something else.
    A folder on an object store is made in the cache first.
    """
    if is_url(folder):
        return _make_there(Store(folder), description, report, read=read, write=write)
    folder = Path(folder)
    partial = partial_of(folder)
    if (manifest := already(folder, description, read)) is not None:
        return manifest
    with locked(partial, report):
        manifest = already(folder, description, read)  # by whoever held the lock
        if manifest is not None:
            return manifest
        if (partial / MANIFEST).is_file():  # killed just before the end
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
    """In a folder of this machine, which is copied to the store, its manifest last, and removed."""
    work = folder_here(store.url, "prepared")
    if (manifest := _already_there(store, description, read)) is not None:
        return manifest
    with locked(work.with_name(f"{work.name}.upload"), report):
        manifest = _already_there(store, description, read)  # by whoever held the lock
        if manifest is None:
            manifest = make_folder(work, description, report, read=read, write=write)
            report.say(f"copying {work} to {store.url}")
            upload_set(work, store, manifest.fingerprint)
            shutil.rmtree(work)
        return manifest


def _already_there(
    store: Store, description: dict[str, Any], read: Callable[[str | Path], AnyManifest]
) -> AnyManifest | None:
    there = store.sizes()
    if not there or (UPLOADING in there and MANIFEST not in there):
        return None
    if MANIFEST not in there:
        raise InputError(f"{store.url} holds other files; choose another folder")
    manifest = read(store.url)
    check_same(store.url, manifest.config, description)
    return manifest


def units_of(partial: Path) -> Path:
    """Where finished units lie, rid of those that were begun by a run that is no more."""
    folder = partial / UNITS
    folder.mkdir(exist_ok=True)
    for left in folder.glob("*.tmp"):  # of a run that was killed or met a full disk
        left.unlink(missing_ok=True)
    return folder


def named(
    shards: Mapping[str, Sequence[AnyShard]],
) -> dict[str, tuple[AnyShard, ...]]:
    """The shards of every split under their names in the finished set."""
    return {
        split: tuple(_named(shard, split, i, len(parts)) for i, shard in enumerate(parts))
        for split, parts in shards.items()
    }


def _named(shard: AnyShard, split: str, number: int, count: int) -> AnyShard:
    stem = f"{split}-{number:05d}-of-{count:05d}"
    return dataclasses.replace(
        shard, file=f"{stem}.array_record", documents_file=f"{stem}.documents.npz"
    )


def move_units(
    old: Mapping[str, Sequence[Any]], new: Mapping[str, Sequence[Any]], partial: Path
) -> None:
    """Moves the files of finished units to their names in the finished set."""
    for split, shards in old.items():
        for before, after in zip(shards, new[split], strict=True):
            (partial / UNITS / before.file).replace(partial / after.file)
            (partial / UNITS / before.documents_file).replace(partial / after.documents_file)


def already(
    folder: Path, description: dict[str, Any], read: Callable[[str | Path], AnyManifest]
) -> AnyManifest | None:
    """The manifest of a set that was prepared with the same configuration."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} exists and holds no prepared set; choose another folder")
    manifest = read(folder)
    check_same(folder, manifest.config, description)
    return manifest


def check_same(folder: str | Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raises InputError that names the first difference of two descriptions."""
    if differences := changes(old, new):
        raise InputError(
            f"{folder} was made with another configuration ({differences[0]}); "
            "remove it or choose another folder"
        )


@contextlib.contextmanager
def locked(partial: Path, report: TextProgress) -> Iterator[None]:
    """One process a folder: the others wait. The lock goes with the process, however it ends."""
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{partial} cannot be made: a file is in the way") from error
    with (partial / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report.say(f"another process writes {partial}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:  # nothing to go on from: leave nothing
            if partial.is_dir() and {path.name for path in partial.iterdir()} == {LOCK}:
                (partial / LOCK).unlink()
                partial.rmdir()


def put_in_place(manifest: AnyManifest, folder: Path) -> AnyManifest:
    """Removes whatever is not of the finished set and renames the folder."""
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
        folder.rmdir()  # it is empty, else nothing would have been prepared
    partial.rename(folder)
    return manifest
