"""A local cache of shards of object stores: a folder whose size stays below a limit.

    shards/SHA256                  one downloaded and verified file, named by the hash of its content
    shards/SHA256.SIZE.partial     reserves SIZE bytes for a file that is being downloaded
    shards/SHA256.SIZE.arriving    the part of that file that has arrived
    shards/lock                    locked while a process removes files or reserves space

Files with other names are not the cache's, and are left alone. Any number of processes and threads can
share the folder. A process that reads or downloads a file holds
a lock on it, which the operating system releases when the process ends. Before a download begins, the
least recently used files without a lock are removed until there is space for it. If that is not enough,
the process closes and removes the least recently used files that it has open itself.
"""

import contextlib
import fcntl
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple, final

from array_record.python.array_record_module import ArrayRecordReader

from jaxssl.data.stores.json_types import short
from jaxssl.data.stores.names import SHA256, plain_name
from jaxssl.data.stores.store import Store, cache_folder, in_parallel
from jaxssl.errors import InputError

GIB = 1 << 30
OPEN_FILES = 256  # files that stay open at the same time; many systems allow a process 1024
PATIENCE = 60.0  # seconds to wait until other processes release a file
PARTIAL, ARRIVING = ".partial", ".arriving"
# Names of the files that count: whole ones, and reservations of space.
_WHOLE, _RESERVED = re.compile("[0-9a-f]{64}"), re.compile(r"[0-9a-f]{64}\.(\d+)\.partial")
READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"  # for random access
READER_BUFFER = 32_768  # bytes; with the default, a megabyte would be read for every row


@dataclass(frozen=True)
class Wanted:
    """A file of an object store, with the content that it must have.

    Raises:
      InputError: The hash, which becomes the name of a file, is no sha256, or the name of the file is none.
    """

    store: Store
    """Folder of the object store."""
    file: str
    """Name of the file in that folder."""
    sha256: str
    """Hash of its content, in hexadecimal."""
    size: int
    """Its size in bytes."""

    def __post_init__(self) -> None:
        plain_name(self.file, self.store.url)
        if not isinstance(self.sha256, str) or not SHA256.allow(self.sha256):
            raise InputError(
                f"the sha256 of {self.store.url}/{self.file} is {short(self.sha256)}, expected "
                f"{SHA256.words}; restore the manifest or prepare the set anew"
            )


class _Held(NamedTuple):
    """An open reader of a file, and the lock that keeps the file from being removed."""

    lock: int  # file descriptor
    reader: ArrayRecordReader


class _Full(Exception):
    """There is no space for a file, and no other file may be removed."""


def open_reader(path: Path) -> ArrayRecordReader:
    """Returns a reader for random access to the rows of the ArrayRecord file at `path`."""
    return ArrayRecordReader(
        str(path), options=READER_OPTIONS, file_reader_buffer_size=READER_BUFFER
    )


@final
class ShardCache:
    """The cache in one folder; `shard_cache` returns the one object that a process needs for it.

    Args:
      folder: The folder, which is made if necessary.
      limit: Upper limit of the size of its files, in bytes.
    """

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._turn = threading.RLock()  # for a thread that changes _held or removes files

    def reader(self, wanted: Wanted) -> ArrayRecordReader:
        """Returns an open reader of the file `wanted`, downloaded if missing. The next call may close it."""
        with self._turn:
            if held := self._held.get(wanted.sha256):
                self._held.move_to_end(wanted.sha256)
                return held.reader
            lock = self._hold(wanted)
            if len(self._held) >= OPEN_FILES:
                self._let_go()
            reader = open_reader(self.folder / wanted.sha256)
            self._held[wanted.sha256] = _Held(lock, reader)
            return reader

    @contextlib.contextmanager
    def file(self, wanted: Wanted) -> Iterator[Path]:
        """Yields the path of the file `wanted`, downloaded if missing and not removed within the context."""
        lock = self._hold(wanted)
        try:
            yield self.folder / wanted.sha256
        finally:
            os.close(lock)

    def fetch_all(self, files: Sequence[Wanted]) -> None:
        """Downloads those of `files` that are not in the cache, in parallel.

        So a batch waits for the network once, not once for each of its shards. If the files would not all
        fit into the cache, nothing is downloaded here; each is when it is read.
        """
        absent = (w for w in files if w.sha256 not in self._held)
        missing = {w.sha256: w for w in absent if not (self.folder / w.sha256).exists()}
        if sum(w.size for w in missing.values()) <= self.limit:
            in_parallel(lambda sha256: os.close(self._hold(missing[sha256])), missing)

    def _hold(self, wanted: Wanted) -> int:
        """Downloads a file if necessary. Returns a descriptor: while it is open, the file is not removed."""
        path, end = self.folder / wanted.sha256, time.monotonic() + PATIENCE
        while True:
            if (lock := _lock(path, fcntl.LOCK_SH)) is not None:
                if os.fstat(lock).st_size == wanted.size:
                    os.utime(lock)
                    return lock
                os.close(lock)  # something has changed it since: it is downloaded again
                if not _remove(path):
                    if time.monotonic() > end:
                        raise InputError(
                            f"{path} has changed since it was downloaded, and other processes read it; end "
                            "them, and remove it"
                        )
                    time.sleep(0.1)
            try:
                self._fetch(wanted)
            except _Full as error:
                if time.monotonic() > end:
                    raise InputError(
                        f"the cache {self.folder} is full of files that other processes read: "
                        f"{wanted.size:,} bytes for {wanted.store.url}/{wanted.file} do not fit into "
                        f"its {self.limit:,}; set data.cache_gib to more, or the environment variable "
                        "JAXSSL_CACHE to another folder"
                    ) from error
                time.sleep(0.1)

    def _fetch(self, wanted: Wanted) -> None:
        """Downloads a file, or waits until another process or thread has downloaded it."""
        partial = self.folder / f"{wanted.sha256}.{wanted.size}{PARTIAL}"
        arriving = partial.with_suffix(ARRIVING)
        with self._alone():
            if (self.folder / wanted.sha256).exists():
                return
            mine = _lock(partial, fcntl.LOCK_EX | fcntl.LOCK_NB, create=True)
            if mine is not None:
                try:
                    self._make_space()
                except BaseException:
                    partial.unlink()
                    os.close(mine)
                    raise
        if mine is None:  # another process or thread is downloading it
            other = _lock(partial, fcntl.LOCK_SH)
            if other is not None:
                os.close(other)
            return
        try:
            wanted.store.download(wanted.file, arriving, wanted.size, wanted.sha256)
            arriving.rename(self.folder / wanted.sha256)
        finally:
            arriving.unlink(missing_ok=True)
            partial.unlink(missing_ok=True)
            os.close(mine)

    def _make_space(self) -> None:
        """Removes the least recently used unlocked files until the folder is below its limit."""
        sizes = _sizes(self.folder)
        excess = sum(sizes.values()) - self.limit
        for path in sorted(sizes, key=_last_use):
            if excess <= 0:
                return
            if _remove(path):
                excess -= sizes[path]
        while excess > 0 and self._held:
            path = self._let_go()
            if _remove(path):
                excess -= sizes.get(path, 0)
        if excess > 0:
            raise _Full

    def _let_go(self) -> Path:
        """Closes the least recently used reader. Returns the path of its file."""
        sha256, held = self._held.popitem(last=False)
        held.reader.close()
        os.close(held.lock)
        return self.folder / sha256

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Lets one thread of one process at a time into the context."""
        with self._turn, (self.folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@cache
def shard_cache(folder: str, gib: float) -> ShardCache:
    """Returns the cache in `folder` (empty: the user's cache folder), whose limit is `gib` GiB."""
    return ShardCache(Path(folder) if folder else cache_folder() / "shards", int(gib * GIB))


def _lock(path: Path, kind: int, *, create: bool = False) -> int | None:
    """Locks a file and returns its descriptor; None if it does not exist or cannot be locked now."""
    try:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o666)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, kind)
        if os.fstat(descriptor).st_nlink:  # else it was removed while this process waited
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _remove(path: Path) -> bool:
    """Removes a file unless it is locked, and returns whether it did.

    An unlocked `.partial` file was left by a process that died; what had arrived is removed with it.
    """
    lock = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if lock is None:
        return False
    if path.suffix == PARTIAL:
        path.with_suffix(ARRIVING).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    os.close(lock)
    return True


def _sizes(folder: Path) -> dict[Path, int]:
    """Returns the bytes that each file of the cache counts: its size, or what a `.partial` file reserves."""
    sizes = {}
    for path in folder.iterdir():
        if reserved := _RESERVED.fullmatch(path.name):
            sizes[path] = int(reserved[1])
        elif _WHOLE.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):
                sizes[path] = path.stat().st_size
    for (
        path
    ) in sizes:  # the reservation of a file that has just become whole is not counted as well
        if path.suffix == PARTIAL and path.with_name(path.name[:64]) in sizes:
            sizes[path] = 0
    return sizes


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
