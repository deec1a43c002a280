"""Stopping when asked: SIGTERM and Ctrl-C set a flag that the loop looks at after every step.

Of many hosts, the one that is asked tells the others, and all stop after the same step: JAX agrees on it
among the hosts, a few steps later.
"""

import os
import signal
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Within it, the first SIGTERM or SIGINT asks the loop to save and leave; a second ends at once."""

    def __init__(self) -> None:
        self.reason = ""
        self._before: dict[int, object] = {}

    def after(self, done: int) -> bool:
        """Whether to save and leave after this many steps; every host asks after every step."""
        if jax.process_count() == 1:
            return bool(self.reason)
        if not multihost_utils.reached_preemption_sync_point(done):
            return False
        self.reason = self.reason or "SIGTERM"
        return True

    def __enter__(self) -> "StopRequest":
        # Among many hosts JAX itself listens for SIGTERM, and tells the others.
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
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.reason = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL)
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
