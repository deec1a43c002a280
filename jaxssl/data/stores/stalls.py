"""Ends calls of an object store that make no progress.

A connection may stall without an error: nothing comes, for minutes or for ever. The libraries of the stores
have limits of their own, of different kinds, and some have none. So a call runs in a thread, which is given
up when nothing has happened for a while; what it returns later is ignored.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from fsspec.callbacks import Callback

from jaxssl.errors import InputError

TIMEOUT = "JAXSSL_STORE_TIMEOUT"  # environment variable
SECONDS = 60.0  # without progress after which a call is given up
SLOWEST = 1 << 20  # bytes per second that a connection reaches at least
UNSEEN = 100 << 20  # bytes that may be sent before progress is told, as s3fs does

Result = TypeVar("Result")


class Stalled(OSError):
    """A call has made no progress for a while."""


def patience() -> float:
    """Returns after how many seconds without progress a call is given up: $JAXSSL_STORE_TIMEOUT, else 60.

    Raises:
      InputError: The environment variable is no number of seconds above 0.
    """
    text = os.environ.get(TIMEOUT) or str(SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise InputError(
            f"{TIMEOUT}={text!r} must be a number of seconds above 0, such as {SECONDS:g}"
        )
    return seconds


class Progress:
    """When the last bytes of an upload have gone.

    Attributes:
      callback: What is given to fsspec, which calls it after every part.
      moved: Time of the last progress, of a clock that never goes back.
      extra: Seconds that the bytes take which may be sent before progress is told.

    Args:
      size: Size of the file in bytes.
    """

    def __init__(self, size: int = 0):
        self.callback = Callback(hooks={"progress": self._note})
        self.moved = time.monotonic()
        self.extra = min(size, UNSEEN) / SLOWEST

    def _note(self, *_: Any, **__: Any) -> None:
        self.moved = time.monotonic()


def in_time(call: Callable[[], Result], progress: Progress | None = None) -> Result:
    """Returns what `call` returns, or raises its error.

    Args:
      call: The call. It may go on in its thread after it was given up, so it must not write to local files.
      progress: When the call has made progress; None counts from its beginning.

    Raises:
      Stalled: The call has made no progress for `patience()` seconds.
    """
    seen = progress or Progress()
    limit = patience() + seen.extra
    done, results, errors = threading.Event(), list[Result](), list[BaseException]()

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)
        done.set()

    threading.Thread(target=work, name="store", daemon=True).start()
    while not done.wait(max(seen.moved + limit - time.monotonic(), 0.001)):
        if time.monotonic() - seen.moved >= limit:
            raise Stalled(f"no progress for {limit:.0f} s")
    if errors:
        raise errors[0]
    return results[0]
