"""Programs that are compared take turns: each in a process of its own, so that no thread pools fight.

with Side("ours", make_ours, config) as ours, Side("theirs", make_theirs, config) as theirs:
    for _ in range(10):
        first, second = ours.turn(rows), theirs.turn(rows)

Whatever else the machine does then falls on both alike, and the ratio of a pair of turns is worth
more than the ratio of two runs.
"""

import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

PAUSE = 0.05  # seconds before a turn, in which the threads of the other side stop spinning


class Turn(NamedTuple):
    seconds: float
    answer: Any
    peak_megabytes: float  # the most memory that the process has held so far


class Side:
    """A process that makes its program once, and runs it when it is its turn.

    `make(*arguments)` runs in the new process and returns the program, a function of one message.
    """

    def __init__(self, name: str, make: Callable[..., Callable[[Any], Any]], *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, make, arguments))
        self._process.start()
        far_end.close()

    def turn(self, message: Any) -> Turn:
        """Runs the program on a message, and waits for it."""
        time.sleep(PAUSE)
        try:
            self._pipe.send(message)
            return self._pipe.recv()
        except (EOFError, BrokenPipeError) as error:
            raise RuntimeError(f"the process of {self.name} has ended; see above") from error

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.terminate()


def _serve(pipe: Connection, make: Callable[..., Callable[[Any], Any]], arguments: Any) -> None:
    program = make(*arguments)
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        start = time.perf_counter()
        answer = program(message)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        pipe.send(Turn(seconds, answer, peak))
