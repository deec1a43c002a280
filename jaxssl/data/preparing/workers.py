"""Units over all cores: spawned processes, a bounded number of units on the way.

Spawned, since a process that has started XLA must not be forked. Results come in any order; what a
unit gives does not depend on who writes it.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import Any, Protocol

from jaxssl.data.preparing.units import Unit
from jaxssl.errors import InputError


class Job(Protocol):
    """Turns a unit into a shard; it and the unit go to other processes."""

    def write(self, unit: Unit) -> Any: ...


def write_units(units: Iterable[Unit], job: Job, workers: int | None) -> Iterator[tuple[Unit, Any]]:
    """Writes every unit and yields it with its shard, without its documents, as it is finished.

    `workers` processes (None: one a core). At most twice as many units are held at a time. With one
    worker, or where there is only one unit, this process does it.
    """
    workers = workers or usable_cores()
    units = iter(units)
    head = list(islice(units, 2))
    if workers == 1 or len(head) < 2:
        for unit in chain(head, units):
            yield unit._replace(documents=[]), job.write(unit)
        return
    pending: dict[Future[Any], Unit] = {}
    with _pool(workers) as pool:
        for unit in chain(head, units):
            with _without_main():
                future = pool.submit(job.write, unit)
            pending[future] = unit._replace(documents=[])
            if len(pending) >= 2 * workers:
                yield from _finished(pending)
        while pending:
            yield from _finished(pending)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _finished(pending: dict[Future[Any], Unit]) -> Iterator[tuple[Unit, Any]]:
    """Waits for one unit at least and gives those that are done."""
    done, _ = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        yield pending.pop(future), future.result()


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise InputError(
            "a worker was killed, most likely for want of memory; "
            "take fewer --workers or smaller shards and run the same command again"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """A worker ends with its parent, leaves Ctrl-C to it, and uses one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()  # returns when it was killed, too
    os._exit(1)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hides the caller's script while processes start: they need none of it.

    Else every worker would run it once more (train.py: JAX and all), and a script without
    `if __name__ == "__main__"` would fail.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
