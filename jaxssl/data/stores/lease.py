"""A lease on a folder of an object store: one machine at a time writes a run, or a prepared set, there.

    lease.json     who writes the folder, since when, and a number that grows while it does

A lock holds on one machine only, and every machine has a cache of its own. Clocks of machines are never
compared: a holder is alive if the number grows while another one looks at it.
"""

import contextlib
import dataclasses
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from jaxssl.data.stores.json_types import Limits
from jaxssl.data.stores.locks import Holder, Locked
from jaxssl.data.stores.store import Missing, Store
from jaxssl.errors import InputError

LEASE = "lease.json"
BEAT = 10.0  # seconds between two signs of life of the holder
EXPIRES = 60.0  # seconds without a sign of life after which a lease is taken over
LOOK = 1.0  # seconds between two looks at the lease of another

_held: set[str] = set()  # owners of the leases that this process holds


@dataclass(frozen=True)
class Sign:
    """The content of lease.json."""

    holder: Holder
    """The process that writes the folder."""
    owner: str
    """Random name of its lease."""
    beat: Annotated[int, Limits(0)] = 0
    """Number of signs of life."""


class Lease:
    """A lease that this process holds.

    Args:
      store: The folder.
      sign: The first sign of life, which is written already.
    """

    def __init__(self, store: Store, sign: Sign):
        self.store, self._sign = store, sign
        self._turn = threading.Lock()
        self._lost: InputError | None = None

    @property
    def owner(self) -> str:
        """Random name of the lease."""
        return self._sign.owner

    def check(self) -> None:
        """Looks whether the lease is still held.

        Raises:
          InputError: Another process has taken the folder over.
        """
        with self._turn:
            if self._lost is None:
                found = _read(self.store)
                if found is not None and found.owner != self._sign.owner:
                    self._lost = InputError(
                        f"{self.store.url} has been taken over by {found.holder}, since this process gave no "
                        "sign of life; nothing more is copied there"
                    )
            if self._lost is not None:
                raise self._lost

    @property
    def is_lost(self) -> bool:
        """Returns whether another process is known to have taken the folder over."""
        return self._lost is not None

    def renew(self) -> None:
        """Gives a sign of life. Raises InputError if another process has taken the folder over."""
        self.check()
        with self._turn:
            self._sign = dataclasses.replace(self._sign, beat=self._sign.beat + 1)
            self.store.write_json(LEASE, dataclasses.asdict(self._sign))

    def release(self) -> None:
        """Ends the lease, unless another process has it; a store that fails is left to the expiry."""
        with contextlib.suppress(InputError):
            self.check()
            self.store.delete([LEASE])


@contextlib.contextmanager
def leased(store: Store) -> Iterator[Lease]:
    """Context manager that holds the lease of a folder; a thread gives signs of life.

    The lease of a process that gives none is taken over: at once if it was one of this machine and has ended,
    else after a minute.

    Args:
      store: The folder.

    Raises:
      Locked: Another process writes into the folder.
      InputError: The store fails.
    """
    lease = _take(store)
    _held.add(lease.owner)
    leave = threading.Event()
    thread = threading.Thread(target=_keep, args=(lease, leave), name="lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        leave.set()
        thread.join()
        _held.discard(lease.owner)
        lease.release()


def _take(store: Store) -> Lease:
    found = _read(store)
    if found is not None and not _is_left(found):
        print(
            f"{store.url} was being written by {found.holder}; looking for {EXPIRES:g} s whether it still is",
            file=sys.stderr,
            flush=True,
        )
        end = time.monotonic() + EXPIRES
        while time.monotonic() < end and (now := _read(store)) is not None:
            if now != found:
                raise Locked(
                    now.holder,
                    f"{store.url} is being written by {now.holder}; wait for it, end it, or choose "
                    "another address",
                )
            time.sleep(LOOK)
    sign = Sign(Holder.here(), uuid.uuid4().hex)
    store.write_json(LEASE, dataclasses.asdict(sign))
    return Lease(store, sign)


def _is_left(sign: Sign) -> bool:
    """Returns whether the lease is of a process that has ended, or of this one, which does not hold it."""
    here = Holder.here()
    is_own = (sign.holder.machine, sign.holder.process) == (here.machine, here.process)
    return sign.holder.is_dead or (is_own and sign.owner not in _held)


def _keep(lease: Lease, leave: threading.Event) -> None:
    while not leave.wait(BEAT):
        try:
            lease.renew()
        except Exception as error:  # the store may work again by the next sign
            print(f"warning: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            if lease.is_lost:
                return


def _read(store: Store) -> Sign | None:
    """Returns the last sign of life; None if there is none, or one that cannot be understood."""
    try:
        return store.read_json(LEASE, Sign)
    except Missing:
        return None
    except InputError:
        if store.exists(LEASE):
            return None
        raise
