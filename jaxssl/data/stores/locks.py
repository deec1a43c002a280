"""Locks of folders: one process writes into a folder at a time, and others are told which one it is.

    with hold_lock(Path("runs/x/jaxssl.lock")):
        …

A lock is a file that says who holds it. The operating system locks it as well (`flock`), and releases that
when the process ends, however that happens, so a file that a killed process has left locks nothing.
"""

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxssl.data.stores.json_files import json_text, read_json
from jaxssl.errors import InputError

LOCK = "jaxssl.lock"  # usual name of the file, in the folder that is locked
PAUSE = 0.2  # seconds between two tries
SETTLED = 1.0  # seconds after which a process that has a lock has also written its name down
WITHOUT_LOCKS = (
    errno.ENOLCK,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
)  # of file systems that have no `flock`


def _machine() -> str:
    """Returns what tells apart machines and containers that have the same host name; empty if unknown."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    return ""


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock."""

    host: str
    """Name of its machine."""
    process: int
    """Number of the process."""
    since: str
    """When it took the lock."""
    machine: str
    """What its number is unique in: a container of a machine, since that was started."""

    @classmethod
    def here(cls) -> "Holder":
        """Returns this process, which takes a lock now."""
        now = time.strftime("%Y-%m-%d %H:%M:%S %z")
        return cls(socket.gethostname(), os.getpid(), now, _machine())

    @property
    def is_dead(self) -> bool:
        """Returns whether the process is known to have ended: it was one of this machine and is not there."""
        if (self.host, self.machine) != (socket.gethostname(), _machine()) or self.process < 1:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return False

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, since {self.since}"


class Locked(InputError):
    """Another process holds a lock.

    Args:
      holder: That process; None where it has not written its name down.
      message: What is locked, and the way out.
    """

    def __init__(self, holder: Holder | None, message: str):
        super().__init__(message)
        self.holder = holder


def holder_of(path: Path) -> Holder | None:
    """Returns the process that the lock `path` names; None where there is no file or it names nobody."""
    try:
        return read_json(path, Holder)
    except InputError:
        return None


@contextlib.contextmanager
def hold_lock(
    path: Path, what: str = "", *, waiting: Callable[[Holder | None], None] | None = None
) -> Iterator[None]:
    """Context manager that holds the lock `path`; the file is removed at the end.

    A lock is taken over if the process that it names was one of this machine and has ended, also where a
    process that it had started still has the file open.

    Args:
      path: File of the lock; its folder must exist.
      what: What is locked, for the message; empty names the folder of the file.
      waiting: Called once where another process holds the lock, which is then waited for. None raises.

    Raises:
      Locked: Another process holds the lock, and `waiting` is None.
      InputError: Something else than a file of a lock is there.
    """
    was_told = False
    while (descriptor := _take(path)) is None:
        holder = holder_of(path)
        if holder and holder.is_dead:
            _break(path, holder)
            continue
        if waiting is None:
            who = f"{holder}" if holder else "another process"
            raise Locked(
                holder,
                f"{what or path.parent} is being written by {who}; wait for it, end it, or choose another "
                "folder",
            )
        if not was_told:
            waiting(holder)
            was_told = True
        time.sleep(PAUSE)
    try:
        yield
    finally:
        if _is_at(path, descriptor):
            path.unlink()
        os.close(descriptor)


def _take(path: Path) -> int | None:
    """Locks the file, writes the holder into it, and returns its descriptor; None if it is locked."""
    # A link is not followed: what it names would be overwritten.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise InputError(f"{path} is not the file of a lock; remove it")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_mine = _is_at(path, descriptor)  # else it was removed, and is perhaps another's by now
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, *WITHOUT_LOCKS):
            os.close(descriptor)
            raise
        named = holder_of(path)
        is_mine = error.errno in WITHOUT_LOCKS and (named is None or named.is_dead)
    if not is_mine:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json_text(vars(Holder.here())).encode(), 0)
    return descriptor


def _is_at(path: Path, descriptor: int) -> bool:
    """Returns whether `path` is still the file that was opened."""
    try:
        there, opened = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)


def _break(path: Path, dead: Holder) -> None:
    """Removes the lock of a process that has ended, if it still names that after a while.

    Another process may have taken the lock, and not written its name down yet.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        time.sleep(SETTLED)
        if holder_of(path) == dead and _is_at(path, descriptor):
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
