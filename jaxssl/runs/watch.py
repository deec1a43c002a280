"""Detects dead and stuck hosts by signs of life, which every host writes into the folder of the run:

    hosts/3     step, name of the machine, process id, a counter; rewritten every few seconds

If a host is dead or stuck, the others wait for it in a collective forever. The training loop may be blocked
there, so a thread beside it reads the signs of the others and ends the process. The exit code is

    75   another host has given no sign of life, or has ended by an error
    76   this host has finished no step for too long

after one line of text that names the host and the step; before exit code 76 the stacks of all threads are
printed. A supervisor (`restarts` in the configuration) then starts the command again, which resumes from
the last checkpoint. Time in which this process was paused (SIGSTOP, Ctrl-Z, a suspended machine) does not
count.
"""

import contextlib
import faulthandler
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxssl.exit_codes import ExitCode
from jaxssl.runs.stored_runs import run_folder

FINISHED, FAILED = "finished", "failed"  # how a host has ended, the last word of its sign
GRACE = 5.0  # seconds for a host's own error, where another one has failed


class _Sign(NamedTuple):
    """The last sign of life of another host."""

    text: str
    """Content of its file."""
    seen: float
    """Time on this host's clock, in seconds, at which the content was last seen to change."""


class Watch:
    """Context manager in which the process ends if another host or the training loop makes no progress.

    The training loop sets `step` after every step. Outside of `training` no host counts as stuck. The clocks
    of different hosts are never compared.

    Args:
      run: Folder of the run, or its URL; the local folder of a URL must be shared by all hosts.
      host: Number of this host, from 0.
      hosts: Number of hosts of the run.
      dead_after: Seconds without a new sign of life of another host after which this process ends.
      stuck_after: Seconds without a new `step` after which this process ends; 0 never ends it.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        host: int,
        hosts: int,
        dead_after: float,
        stuck_after: float = 0.0,
    ):
        self.folder = run_folder(run) / "hosts"
        self.host, self.hosts = host, hosts
        self.dead_after, self.stuck_after = dead_after, stuck_after
        self._clock = 0.0  # seconds for which this process was watched and not paused
        self._step, self._moved = 0, math.inf
        self._leave = threading.Event()
        self._count = 0
        self._signs: dict[int, _Sign] = {}
        self._thread = threading.Thread(target=self._keep_watch, name="watch", daemon=True)

    @property
    def step(self) -> int:
        """Number of steps that are done; setting it also records that the loop is alive."""
        return self._step

    @step.setter
    def step(self, done: int) -> None:
        self._step, self._moved = done, self._clock

    @contextlib.contextmanager
    def training(self, step: int) -> Iterator[None]:
        """Returns the context of the training loop, which begins after `step` steps."""
        self.step = step
        try:
            yield
        finally:
            self._moved = math.inf

    def __enter__(self) -> "Watch":
        if self.hosts > 1 or self.stuck_after:
            if self.hosts > 1:
                self.folder.mkdir(parents=True, exist_ok=True)
            self._write()
            self._signs = {other: _Sign(self._read(other), self._clock) for other in self._others()}
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """Ends the watch.

        A RuntimeError with several hosts may be the consequence of a dead host, so the thread gets the time
        to find that out: it then ends the process with a line that names the host.
        """
        if not self._thread.is_alive():
            return
        if kind is not None and self.hosts > 1 and issubclass(kind, RuntimeError):
            self._thread.join(self.dead_after + 2 * self._pause())
        self._leave.set()
        self._thread.join()
        # After an error the other hosts, which would wait for this one forever, end as well.
        self._write(FINISHED if kind is None else FAILED)

    def _others(self) -> list[int]:
        return [other for other in range(self.hosts) if other != self.host]

    def _pause(self) -> float:
        return min(self.dead_after / 6, 5.0)

    def _write(self, mark: str = "") -> None:
        if self.hosts == 1:
            return
        self._count += 1
        text = f"{self._step} {socket.gethostname()} {os.getpid()} {self._count} {mark}"
        temporary = self.folder / f"{self.host}.partial"
        with contextlib.suppress(OSError):  # saving a checkpoint reports a full disk
            temporary.write_text(text, encoding="utf8")
            temporary.replace(self.folder / str(self.host))

    def _read(self, other: int) -> str:
        try:
            return (self.folder / str(other)).read_text(encoding="utf8")
        except OSError:
            return ""

    def _keep_watch(self) -> None:
        before = time.monotonic()
        while not self._leave.wait(self._pause()):
            now = time.monotonic()
            # Of a longer time this process was paused for the most part, and nothing could happen in it.
            self._clock += min(now - before, 2 * self._pause())
            before = now
            self._write()
            if self.stuck_after and self._clock - self._moved > self.stuck_after:
                self._end_stuck(self._clock - self._moved)
            for other in self._others():
                self._look_at(other)

    def _look_at(self, other: int) -> None:
        text, sign = self._read(other), self._signs[other]
        if text != sign.text or text.endswith(FINISHED):
            self._signs[other] = _Sign(text, self._clock)
            return
        limit = min(GRACE, self.dead_after) if text.endswith(FAILED) else self.dead_after
        if self._clock - sign.seen > limit:
            self._end_without(other, text)

    def _end_without(self, other: int, text: str) -> None:
        step, machine, process = (text.split() + ["?"] * 3)[:3]
        name = f"host {other} ({machine}, process {process})"
        if not text:
            line = (
                f"host {other} has given no sign of life in {self.folder} for {self.dead_after:g} s: it "
                "has not started, or does not share this folder"
            )
        elif text.endswith(FAILED):
            line = f"{name} has ended by an error, which its output shows; its last step was {step}"
        else:
            line = (
                f"{name} has not been heard of for {self.dead_after:g} s; its last step was {step}"
            )
        _end(
            f"{line}. Host {self.host} leaves at step {self._step}; the same command goes on from the "
            "last checkpoint",
            ExitCode.HOST_IS_GONE,
        )

    def _end_stuck(self, seconds: float) -> None:
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        _end(
            f"host {self.host} has finished no step for {seconds:.0f} s after step {self._step}; "
            "the stacks of its threads are above. The same command goes on from the last checkpoint",
            ExitCode.STUCK,
        )


def _end(line: str, code: int) -> None:
    """Ends the process at once, without exit handlers and barriers, which would wait for the dead host."""
    print(f"error: {line}", file=sys.stderr, flush=True)
    os._exit(code)
