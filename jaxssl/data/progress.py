"""Progress of long work: a bar with the estimated time left on a terminal, else a line every ten seconds."""

import sys
import time
from types import TracebackType
from typing import TextIO, final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

MEGA = 1e6
SECONDS_BETWEEN_LINES = 10.0


@final
class TextProgress:
    """Counts the documents, bytes and tokens of one phase of work after another, and shows them.

        with TextProgress() as progress:
            progress.begin("packing", total_bytes=54_000_000)
            progress.add(documents=3, text_bytes=40_000, tokens=9_000)

    On a terminal a bar is redrawn ten times a second. Elsewhere a line is printed every ten seconds, so
    a shorter phase prints nothing.

    Args:
      silent: Prints nothing at all.
      stream: Where to print. None: standard error.
    """

    def __init__(self, *, silent: bool = False, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self._console = Console(file=self._stream, quiet=silent)
        self._bar: Progress | None = None
        self._phase, self._things = "", "documents"
        self._total: int | None = None
        self._documents = self._bytes = self._tokens = self._reused = 0
        self._started = self._shown = time.monotonic()

    def __enter__(self) -> "TextProgress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_bar()

    def begin(self, phase: str, total_bytes: int | None = None, things: str = "documents") -> None:
        """Begins the next phase and sets all counts to 0.

        Args:
          phase: Its name, such as "packing".
          total_bytes: Bytes of text that the phase will count, from which the time left is estimated.
            None: no estimate.
          things: What is counted as documents, such as "images".
        """
        self._end_bar()
        self._phase, self._total, self._things = phase, total_bytes, things
        self._documents = self._bytes = self._tokens = self._reused = 0
        self._started = self._shown = time.monotonic()
        if self._console.is_terminal and not self._console.quiet:
            self._bar = _bar(self._console, total_bytes)
            self._task = self._bar.add_task(phase, total=total_bytes, counts="")
            self._bar.start()

    def add(
        self, *, documents: int, text_bytes: int, tokens: int = 0, reused: bool = False
    ) -> None:
        """Adds to the counts, and shows them if it is time.

        Args:
          documents: Number of documents, or of what `begin` named `things`.
          text_bytes: Their size in bytes.
          tokens: Number of their tokens; 0 if they are not tokenized.
          reused: Whether an earlier run had done this work. It then does not count towards the speed.
        """
        self._documents += documents
        self._bytes += text_bytes
        self._tokens += tokens
        self._reused += text_bytes if reused else 0
        now = time.monotonic()
        if now - self._shown >= (0.1 if self._bar else SECONDS_BETWEEN_LINES):
            self._shown = now
            self._show()

    def say(self, line: str) -> None:
        """Prints `line` above the bar."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def counts(self) -> str:
        """Returns the documents, megabytes, tokens and speed of the phase so far, as one line."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        speed = (self._bytes - self._reused) / MEGA / seconds
        parts = [f"{self._documents:,} {self._things}", f"{self._bytes / MEGA:,.1f} MB"]
        if self._tokens:
            parts.append(f"{self._tokens / MEGA:,.2f} M tokens")
        return ", ".join([*parts, f"{speed:,.1f} MB/s"])

    def _show(self) -> None:
        if self._bar:
            self._bar.update(self._task, completed=self._bytes, counts=self.counts())
        else:
            self.say(f"{self._phase}: {self.counts()}{self._left()}")

    def _left(self) -> str:
        seconds = time.monotonic() - self._started
        done = self._bytes - self._reused
        if self._total is None or done <= 0:
            return ""
        left = (self._total - self._bytes) * seconds / done
        minutes, seconds = divmod(round(left), 60)
        return f", {self._bytes / self._total:.0%}, {minutes} min {seconds:02d} s left"

    def _end_bar(self) -> None:
        if self._bar:
            self._show()
            self._bar.stop()
            self._bar = None


def _bar(console: Console, total_bytes: int | None) -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn(bar_width=24)]
    columns += [TaskProgressColumn(), TimeRemainingColumn()] if total_bytes else []
    return Progress(*columns, TextColumn("{task.fields[counts]}"), console=console)
