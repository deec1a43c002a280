"""Runs the parts one after another, each in its own process, until the time is over."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.on_accelerator_parts.record import read_record

Found = dict[str, Any]
FIRST_GUESS = {"attention": 40.0, "ours": 50.0, "peer": 45.0}  # seconds of a part on an H100
LEAST = 15.0  # seconds in which a part can find anything
LAST = 8.0  # seconds before the end in which a part begins nothing more
HALVINGS = 2
MEMORY_SHARE = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")  # names, new and old

QUICKLY_COMPILED = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


@dataclass
class Clock:
    """How much time there is, and how long parts have taken so far."""

    seconds: float
    """Seconds that all parts together may take."""
    now: Callable[[], float] = time.monotonic
    """Returns the time in seconds."""
    took: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of each finished part, by its kind."""

    def __post_init__(self) -> None:
        self.began = self.now()

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return self.now() - self.began

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.seconds - self.spent

    def expected(self, parts: list[str]) -> float:
        """Estimates the seconds that parts of these kinds take, at most those that are left."""
        total = sum(mean(self.took.get(part, [FIRST_GUESS[part]])) for part in parts)
        return max(0.0, min(total, self.left))


def run_part(job: Found, folder: Path, seconds: float, python: str = sys.executable) -> Found:
    """Runs a part in a process, and ends it when its time is over.

    Args:
      job: What `child.run` takes, with "part" and "name".
      folder: Where its record and its log are written.
      seconds: Seconds that it may take.
      python: Interpreter that runs it.

    Returns:
      What the part has recorded; "error" says why it has not finished.
    """
    label = "-".join(filter(None, (job["part"], job.get("name", ""))))
    given, record, log = (folder / f"{label}{end}" for end in (".job.json", ".json", ".log"))
    record.unlink(missing_ok=True)
    given.write_text(json.dumps({**job, "seconds": max(0.0, seconds - LAST)}), encoding="utf-8")
    command = [python, "-m", "benchmarks.on_accelerator_parts.child", str(given), str(record)]
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            command,
            cwd=Path(__file__).parents[2],
            env=environment(tiny=job.get("tiny", False)),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    found = read_record(record)
    found["took"] = time.monotonic() - began
    if code is None:
        found.setdefault("error", f"stopped after {found['took']:.0f} s: time is over")
    elif code:
        found.setdefault("error", f"ended with code {code}: {last_line(log)}")
    return found


def environment(*, tiny: bool) -> dict[str, str]:
    """Returns the environment of a part: that of this process, with what it does not say itself.

    Args:
      tiny: Whether programs are compiled quickly, not well. Otherwise none is taken from a cache, because
        the seconds to compile it are measured.
    """
    found = dict(os.environ)
    if not found.keys() & set(MEMORY_SHARE):
        found[MEMORY_SHARE[0]] = "0.93"  # a part has the device for itself
    if tiny:
        found.setdefault("XLA_FLAGS", QUICKLY_COMPILED)
    else:
        found.pop("JAX_COMPILATION_CACHE_DIR", None)
    return found


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process that still runs, and what it has started (compilers)."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_line(log: Path) -> str:
    """Returns the last line of a log that is not empty."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "nothing printed")


def run_halving(
    job: Found, run: Callable[[Found], Found], *, enough_time: Callable[[], bool]
) -> Found:
    """Runs a part; where the device's memory is full, again with half the batch, at most twice.

    Args:
      job: What the part takes, with "batch".
      run: Runs a job and returns what it found.
      enough_time: Returns whether there is time for another run.

    Returns:
      What the last run found; "too_large" holds the batches that did not fit.
    """
    too_large: list[int] = []
    while True:
        found = run(job)
        batch = found.get("batch", 1)
        full = found.get("out_of_memory") and len(too_large) < HALVINGS
        if not full or batch < 2 or not enough_time():
            return {**found, "too_large": too_large}
        too_large.append(batch)
        job = {**job, "batch": batch // 2}
