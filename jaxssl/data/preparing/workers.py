"""Distributes units over all cores: processes that are spawned, and a bounded number of units in memory.

Processes are spawned, since a process that has started XLA must not be forked. Results come in any
order; the shard of a unit does not depend on which process writes it.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from typing import Any, Protocol

from jaxssl.data.preparing.units import Unit
from jaxssl.errors import InputError

MOST_WORKERS = 1024
Results = Generator[tuple[Unit, Any], None, None]


class Job(Protocol):
    """The work that is done for each unit. A job and its units are pickled for other processes."""

    def write(self, unit: Unit) -> Any:
        """Writes the shard of `unit` and returns its description."""
        ...


def write_units(units: Iterable[Unit], job: Job, workers: int | None) -> Results:
    """Writes all units in parallel.

    Args:
      units: The units to write. At most twice as many as there are workers are in memory at a time.
      job: The work to do for each unit.
      workers: Number of processes; None means one per core. With one worker, or if there is only one
        unit, this process does the work.

    Yields:
      Pairs of a unit, without its documents, and its shard, in the order in which they are finished.

    Raises:
      InputError: A worker was killed, or the job refuses a unit.
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
            with _without_interrupts(), _without_main():
                future = pool.submit(job.write, unit)
            pending[future] = unit._replace(documents=[])
            if len(pending) >= 2 * workers:
                yield from _finished(pending)
        while pending:
            yield from _finished(pending)


def usable_cores() -> int:
    """Returns the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _finished(pending: dict[Future[Any], Unit]) -> Iterator[tuple[Unit, Any]]:
    """Waits until at least one unit is finished, and yields all that are."""
    done, _ = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        yield pending.pop(future), future.result()


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of spawned processes; the error for a killed worker says what to do.

    If the block ends by an exception, such as that of Ctrl-C, the workers are ended at once: by closing a
    pipe that each of them watches. This also ends one that is just being started, which the pool does not
    know yet and would wait for without end.
    """
    context = multiprocessing.get_context("spawn")
    watched, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(watched,)
    )
    is_done = False
    try:
        yield pool
        is_done = True
    except BrokenProcessPool as error:
        raise InputError(
            "a worker was killed, most likely because memory ran out; set workers, or "
            "shard_characters (text) or shard_bytes (images), to less, and run it again"
        ) from error
    finally:
        with _without_interrupts():
            if not is_done:
                held.close()
            pool.shutdown(wait=True, cancel_futures=True)
            held.close()
            watched.close()


def _start_worker(watched: Connection) -> None:
    """Sets up a worker: it ends with its parent or pool, ignores Ctrl-C, and encodes in one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()


def _end_with(watched: Connection) -> None:
    """Ends this process when its parent ends, even if it was killed, or when the pipe is closed."""
    parent = multiprocessing.parent_process()
    wait_for([watched] if parent is None else [watched, parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Delays Ctrl-C until the block has ended. Only the main thread is ever interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    met: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: met.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if met:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hides the caller's script while processes start, since they do not need it.

    Otherwise each worker would import it (train.py, which imports JAX), and a script without
    `if __name__ == "__main__"` would fail.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
