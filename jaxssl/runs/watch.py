"""Detects dead and stuck hosts by signs of life, which every host writes into the folder of the run:

    hosts/3     step, name of the machine, process id, a counter; rewritten every few seconds

If a host is dead or stuck, the others wait for it in a collective forever. The training loop may be blocked
there, so a thread beside it reads the signs of the others and ends the process. The exit code is

    75   another host has given no sign of life        76   this host has finished no step for too long

after one line of text that names the host and the step; before exit code 76 the stacks of all threads are
printed. A supervisor (`restarts` in the configuration) then starts the command again, which resumes from
the last checkpoint.
"""

import contextlib
import faulthandler
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from jaxssl.runs.stored_runs import run_folder

PEER_IS_GONE, STUCK = 75, 76
FINISHED = "finished"


class _Sign(NamedTuple):
    """The last sign of life of another host."""

    text: str
    """Content of its file."""
    seen: float
    """Time on this host's clock, in seconds, at which the content was last seen to change."""


class Watch:
    """Context manager in which the process ends if another host or the training loop makes no progress.

    The training loop sets `step` after every step. The clocks of different hosts are never compared.

    Args:
      run: Folder of the run, or its URL; the local folder of a URL must be shared by all hosts.
      host: Number of this host, from 0.
      hosts: Number of hosts of the run.
      dead_after: Seconds without a new sign of life of another host after which this process ends.
      stuck_after: Seconds without a new `step` after which this process ends; 0 never ends it.
      step: Number of steps that are done at the beginning.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        host: int,
        hosts: int,
        dead_after: float,
        stuck_after: float = 0.0,
        step: int = 0,
    ):
        self.folder = run_folder(run) / "hosts"
        self.host, self.hosts = host, hosts
        self.dead_after, self.stuck_after = dead_after, stuck_after
        self._step, self._moved = step, time.monotonic()
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
        self._step, self._moved = done, time.monotonic()

    def __enter__(self) -> "Watch":
        if self.hosts > 1 or self.stuck_after:
            if self.hosts > 1:
                self.folder.mkdir(parents=True, exist_ok=True)
            self._write()
            self._signs = {
                other: _Sign(self._read(other), time.monotonic()) for other in self._others()
            }
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
        # After an error the file does not say that this host has finished, so that the other hosts, which
        # would wait for it forever, end as well; they report the step in the file as its last one.
        self._write(FINISHED if kind is None else "")

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
        while not self._leave.wait(self._pause()):
            self._write()
            now = time.monotonic()
            if self.stuck_after and now - self._moved > self.stuck_after:
                self._end_stuck(now - self._moved)
            for other in self._others():
                text, sign = self._read(other), self._signs[other]
                if text != sign.text or text.endswith(FINISHED):
                    self._signs[other] = _Sign(text, now)
                elif now - sign.seen > self.dead_after:
                    self._end_without(other, sign.text)

    def _end_without(self, other: int, text: str) -> None:
        step, machine, process = (text.split() + ["?"] * 3)[:3]
        _end(
            f"host {other} ({machine}, process {process}) has not been heard of for "
            f"{self.dead_after:g} s; its last step was {step}. Host {self.host} leaves at step "
            f"{self._step}; the same command goes on from the last checkpoint",
            PEER_IS_GONE,
        )

    def _end_stuck(self, seconds: float) -> None:
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        _end(
            f"host {self.host} has finished no step for {seconds:.0f} s after step {self._step}; "
            "the stacks of its threads are above. The same command goes on from the last checkpoint",
            STUCK,
        )


def _end(line: str, code: int) -> None:
    """Ends the process at once, without exit handlers and barriers, which would wait for the dead host."""
    print(f"error: {line}", file=sys.stderr, flush=True)
    os._exit(code)
