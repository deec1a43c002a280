"""Shards of object stores on this machine: a folder that stays under its bound.

    shards/SHA256                  one file, verified, named by its content
    shards/SHA256.SIZE.partial     room that is taken for one on its way, which counts like the file
    shards/SHA256.SIZE.arriving    what has come of it
    shards/lock                    held by whoever makes room

Any number of processes share it. Whoever reads a file, or fetches it, holds a lock on it, which goes with
the process; the least recently used of the others are removed for a new one, before it is fetched.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from array_record.python.array_record_module import ArrayRecordReader

from jaxssl.data.stores.store import Store, cache_folder, in_parallel
from jaxssl.errors import InputError

GIB = 1 << 30
OPEN_FILES = 256  # kept open at a time; many systems allow a process 1024
PATIENCE = 60.0  # seconds to wait for other processes to let go of a file
PARTIAL, ARRIVING = ".partial", ".arriving"
READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"  # for random access
READER_BUFFER = 32_768  # bytes; the default of a megabyte would be read for every row


class Wanted(NamedTuple):
    """A file of a store, and what it must be."""

    store: Store
    file: str
    sha256: str
    size: int


class _Held(NamedTuple):
    """A file that stays while it is held, and its reader."""

    lock: int  # descriptor
    reader: ArrayRecordReader


class _Full(Exception):
    """There is no room, and nothing may be removed."""


def open_reader(path: Path) -> ArrayRecordReader:
    """A reader for random access to the rows of a file."""
    return ArrayRecordReader(
        str(path), options=READER_OPTIONS, file_reader_buffer_size=READER_BUFFER
    )


class ShardCache:
    """The files of a folder; see above. One object a process and folder: `shard_cache`."""

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._turn = threading.RLock()  # among threads: who changes _held, who makes room

    def reader(self, wanted: Wanted) -> ArrayRecordReader:
        """An open reader of a shard; to be used before the next one is asked for."""
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
        """The path of a file, which stays there within the body."""
        lock = self._hold(wanted)
        try:
            yield self.folder / wanted.sha256
        finally:
            os.close(lock)

    def fetch_all(self, files: Sequence[Wanted]) -> None:
        """Fetches what is not here, many at a time, so that a batch waits for the network once."""
        absent = (w for w in files if w.sha256 not in self._held)
        missing = {w.sha256: w for w in absent if not (self.folder / w.sha256).exists()}
        if sum(w.size for w in missing.values()) <= self.limit:
            in_parallel(lambda sha256: os.close(self._hold(missing[sha256])), missing)

    def _hold(self, wanted: Wanted) -> int:
        """A descriptor that keeps the file where it is until it is closed; fetches it where it is not."""
        path, end = self.folder / wanted.sha256, time.monotonic() + PATIENCE
        while True:
            if (lock := _lock(path, fcntl.LOCK_SH)) is not None:
                os.utime(lock)
                return lock
            try:
                self._fetch(wanted)
            except _Full as error:
                if time.monotonic() > end:
                    raise InputError(
                        f"the cache {self.folder} is full of files that other processes read: "
                        f"{wanted.size:,} bytes for {wanted.store.url}/{wanted.file} do not fit into "
                        f"its {self.limit:,}; pass a larger --data.cache-gib, or set another "
                        "JAXSSL_CACHE"
                    ) from error
                time.sleep(0.1)

    def _fetch(self, wanted: Wanted) -> None:
        """Brings a file here, or waits until another process or thread has done it."""
        partial = self.folder / f"{wanted.sha256}.{wanted.size}{PARTIAL}"
        arriving = partial.with_suffix(ARRIVING)
        with self._alone():
            if (self.folder / wanted.sha256).exists():
                return
            mine = _lock(partial, fcntl.LOCK_EX | fcntl.LOCK_NB, create=True)
            if mine is not None:
                try:
                    self._make_room()
                except BaseException:
                    partial.unlink()
                    os.close(mine)
                    raise
        if mine is None:  # somebody else is at it
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

    def _make_room(self) -> None:
        """Removes the least recently used files that nobody holds until the folder is under its bound."""
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
        """Closes the reader that was not used for longest."""
        sha256, held = self._held.popitem(last=False)
        held.reader.close()
        os.close(held.lock)
        return self.folder / sha256

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread of one process at a time."""
        with self._turn, (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@cache
def shard_cache(folder: str, gib: float) -> ShardCache:
    """The cache in a folder, with a bound in GiB; in the user's own where none is named."""
    return ShardCache(Path(folder) if folder else cache_folder() / "shards", int(gib * GIB))


def _lock(path: Path, kind: int, *, create: bool = False) -> int | None:
    """A locked descriptor of a file that is there; None where it is not, or may not be locked now."""
    try:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o666)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, kind)
        if os.fstat(descriptor).st_nlink:  # else it was removed while we waited
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _remove(path: Path) -> bool:
    """Removes a file that nobody holds; of one on its way, what a dead process has left."""
    lock = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if lock is None:
        return False
    if path.suffix == PARTIAL:
        path.with_suffix(ARRIVING).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    os.close(lock)
    return True


def _sizes(folder: Path) -> dict[Path, int]:
    """What every file counts."""
    sizes = {}
    for path in folder.iterdir():
        if path.suffix == PARTIAL:
            sizes[path] = int(path.stem.rpartition(".")[2])
        elif path.suffix != ARRIVING and path.name != "lock":
            with contextlib.suppress(FileNotFoundError):
                sizes[path] = path.stat().st_size
    return sizes


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
