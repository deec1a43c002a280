"""Shows that long work without a progress of its own goes on."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

PATIENCE, SECONDS = 2.0, 10.0  # before the first line, and between two


@contextlib.contextmanager
def still_working(
    what: str,
    *,
    patience: float = PATIENCE,
    every: float = SECONDS,
    stream: TextIO | None = None,
) -> Iterator[None]:
    """Returns a context that says what is done, and every ten seconds for how long; nothing if it is quick.

    Args:
      what: What is done, such as "compiling the step".
      patience: Seconds before the first line.
      every: Seconds between two lines.
      stream: Where to print; None means standard error.
    """
    stream, ended, began = stream or sys.stderr, threading.Event(), time.monotonic()

    def tell() -> None:
        pause = patience
        while not ended.wait(pause):
            print(f"{what} … {time.monotonic() - began:.0f} s", file=stream, flush=True)
            pause = every

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
