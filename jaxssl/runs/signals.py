"""Stops a run on request: a signal (`stop_signals.py`) sets a flag, which the training loop reads after every
step.

With several hosts, the host that receives the signal informs the others, and all of them stop after the
same step, a few steps later. JAX makes the hosts agree on that step.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils

from jaxssl.exit_codes import ExitCode
from jaxssl.runs.stop_signals import handled_signals

SAME = 0.5  # seconds; one request may come twice, e.g. from a cluster and from the supervisor


class StopRequest:
    """Context manager in which a signal requests a stop; only the third Ctrl-C ends the process at once.

    The second Ctrl-C prints what a third one would lose; other signals may be repeated without effect. The
    context must last until the state is saved. A thread prints the lines, at once also while the loop waits
    for a device. The former signal handlers are restored at the end.

    Attributes:
      reason: Name of the first signal that was received, or empty.

    Args:
      checkpoints: Local folder whose subfolders are the complete checkpoints, named by their steps.
    """

    def __init__(self, checkpoints: str | Path):
        self.reason = ""
        self._checkpoints, self._done = Path(checkpoints), 0
        self._before: dict[int, Any] = {}
        self._terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def after(self, done: int) -> bool:
        """Returns whether the loop should save and stop after `done` steps.

        Every host must call it after every step, with the same number.
        """
        self._done = done
        if jax.process_count() == 1:
            return bool(self.reason)
        if not multihost_utils.reached_preemption_sync_point(done):
            return False
        self.reason = self.reason or "SIGTERM"
        return True

    def __enter__(self) -> "StopRequest":
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        # Python's handlers wait for the main thread. The numbers of signals come through the pipe at once.
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in handled_signals():
            # With several hosts JAX itself handles SIGTERM, and informs the other hosts.
            if number != signal.SIGTERM or jax.process_count() == 1:
                self._before[number] = signal.signal(number, self._ask)
        self._thread = threading.Thread(target=self._listen, args=(reading,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._writing)  # ends the thread
        self._thread.join()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal in the main thread; the first one is the reason of the stop."""
        if number == signal.SIGHUP:  # the terminal is closed: writing to it would be an error
            for stream in self._terminals:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        if not self.reason:
            self.reason = signal.Signals(number).name
            if jax.process_count() > 1:
                os.kill(os.getpid(), signal.SIGTERM)

    def _listen(self, reading: int) -> None:
        """Prints what happens, and ends the process at the third Ctrl-C."""
        times, interrupts, last = 0, 0, -SAME
        with os.fdopen(reading, "rb", buffering=0) as numbers:
            while found := numbers.read(1):
                number, now = signal.Signals(found[0]), time.monotonic()
                if number not in self._before or now - last < SAME:
                    continue
                times, last = times + 1, now
                interrupts += number == signal.SIGINT
                if interrupts == 3:
                    _tell(f"{number.name} for the third time: ended at once; {self._lost()}")
                    os._exit(ExitCode.INTERRUPTED)
                elif times == 1:
                    _tell(f"{number.name}: the run ends when the state after this step is saved")
                elif number == signal.SIGINT:
                    _tell(
                        f"{number.name} again: the state is being saved. At the third Ctrl-C the run "
                        f"ends at once, and then {self._lost()}"
                    )

    def _lost(self) -> str:
        """Says which steps are lost if the process ends now."""
        steps = self._checkpoints.iterdir() if self._checkpoints.is_dir() else ()
        saved = max((int(path.name) for path in steps if path.name.isdigit()), default=None)
        if saved is None:
            return f"all {self._done:,} steps are lost: no checkpoint is complete"
        if saved >= self._done:
            return f"nothing is lost: step {saved:,} is saved"
        return f"the {self._done - saved:,} steps after the complete checkpoint of step {saved:,} are lost"


def _tell(line: str) -> None:
    """Writes one line to stderr; where nobody can read it, the thread still counts the signals."""
    with contextlib.suppress(OSError, ValueError):  # a closed pipe, a closed stream
        print(line, file=sys.stderr, flush=True)
