"""Stops a run on request: SIGTERM and Ctrl-C set a flag that the training loop reads after every step.

With several hosts, the host that receives the signal informs the others, and all of them stop after the
same step, a few steps later. JAX makes the hosts agree on that step.
"""

import os
import signal
from types import FrameType, TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Context manager in which a first SIGTERM or SIGINT requests a stop, and a second one kills the process.

    `reason` is the name of the signal that was received, or empty. The former signal handlers are restored
    at the end.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._before: dict[int, Any] = {}

    def after(self, done: int) -> bool:
        """Returns whether the loop should save and stop after `done` steps.

        Every host must call it after every step, with the same number.
        """
        if jax.process_count() == 1:
            return bool(self.reason)
        if not multihost_utils.reached_preemption_sync_point(done):
            return False
        self.reason = self.reason or "SIGTERM"
        return True

    def __enter__(self) -> "StopRequest":
        # With several hosts JAX itself handles SIGTERM, and informs the other hosts.
        numbers = (signal.SIGTERM, signal.SIGINT)[jax.process_count() > 1 :]
        for number in numbers:
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        """Handles the first signal: notes it, and restores the default action for a second one."""
        self.reason = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL)
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
