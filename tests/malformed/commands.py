"""Runs commands in this process and says how they ended, and what they wrote outside their folder."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jaxssl.tools.main import main

SECONDS = 60  # a command that takes longer hangs: the slowest takes two
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}


class Ending(NamedTuple):
    """How a command ended."""

    code: int
    """Its exit code; 0 for success."""
    errors: list[str]
    """Its lines on standard error that begin with `error: `."""
    traceback: str
    """The type and text of an exception that would have shown a traceback, or an empty string."""
    outside: list[str]
    """Paths outside the folder of the test that it has written, made, renamed or removed."""

    def is_plain(self) -> bool:
        """Whether the command succeeded, or refused its input in one line, and wrote nothing elsewhere."""
        refused = self.code == 2 and len(self.errors) == 1
        return (self.code == 0 or refused) and not self.traceback and not self.outside


class WriteWatch:
    """Collects the paths that this process changes, by Python's audit events; one hook serves all tests."""

    def __init__(self) -> None:
        self.allowed: list[str] = []
        self.outside: list[str] = []
        self.is_on = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, details: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event == "open":
            path, _, flags = details
            changed = [path] if isinstance(flags, int) and flags & WRITES else []
        elif event in CHANGES:
            changed = [part for part in details[:2] if isinstance(part, str | bytes | os.PathLike)]
        else:
            return
        for path in changed:
            if isinstance(path, int):  # a file descriptor, whose file was opened before
                continue
            full = os.path.realpath(os.fsdecode(path))
            if not any(full == root or full.startswith(root + os.sep) for root in self.allowed):
                self.outside.append(f"{event} {full}")

    @contextmanager
    def over(self, *folders: Path | str) -> Iterator[list[str]]:
        """Yields the list of changes outside these folders."""
        self.allowed, self.outside = [os.path.realpath(folder) for folder in folders], []
        self.is_on = True
        try:
            yield self.outside
        finally:
            self.is_on = False


WATCH = WriteWatch()


def _hangs(*_: Any) -> None:
    raise TimeoutError(f"the command has run for {SECONDS} s")


def run_command(
    words: list[str], folder: Path, capfd: pytest.CaptureFixture[str], also: tuple[str, ...] = ()
) -> Ending:
    """Runs `jaxssl WORDS` in this process, with `folder` as the only place that it may write to.

    Args:
      words: Words behind `jaxssl`.
      folder: Working directory of the command.
      capfd: The fixture of pytest, which has what the command prints.
      also: Further folders that the command may write to.
    """
    before = os.getcwd()
    os.chdir(folder)
    compiled = os.environ["JAX_COMPILATION_CACHE_DIR"]
    allowed = (folder, compiled, tempfile.gettempdir() + "/jaxssl-fuzz", "/dev", "/proc", *also)
    old = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(SECONDS)
    code, trace = 0, ""
    capfd.readouterr()
    try:
        with WATCH.over(*allowed) as outside:
            main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:  # whatever a command lets through is a traceback for its user
        trace = f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
        os.chdir(before)
    lines = capfd.readouterr().err.splitlines()
    return Ending(code, [line for line in lines if line.startswith("error: ")], trace, outside)


def check_all(endings: dict[str, Ending]) -> None:
    """Fails with a line for every ending that is neither success nor one line and code 2.

    Args:
      endings: Endings by the names of their inputs; inputs named "…, as it is" are sound and must succeed.
    """
    for name, ending in endings.items():
        assert ending.code == 0 or not name.endswith(", as it is"), f"{name}: {ending}"
    bad = {name: ending for name, ending in endings.items() if not ending.is_plain()}
    lines = [f"{name}: {ending}" for name, ending in bad.items()]
    assert not bad, f"{len(bad)} of {len(endings)} commands:\n" + "\n".join(lines)
