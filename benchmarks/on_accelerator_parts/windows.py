"""Times windows of steps, and what follows from their seconds."""

import math
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

WINDOW_SECONDS = 1.0  # a window takes about this long


class Speed(NamedTuple):
    """The speed of one device over several windows."""

    rate: float
    """Tokens or images a second, the median of the windows."""
    least: float
    """Those of the slowest window."""
    most: float
    """Those of the fastest window."""
    share: float | None
    """Share of the device's peak in the median window; None where the peak is unknown."""


def time_windows(
    take: Callable[[int], None], *, windows: int, steps: int | None, deadline: float
) -> list[float]:
    """Times windows of steps. Fewer windows than asked for are timed if the deadline is near.

    Args:
      take: Takes so many steps and waits until the device has finished them; it must have run before, so
        that nothing is compiled any more.
      windows: Number of windows.
      steps: Steps of a window. None: as many as take about a second.
      deadline: `time.monotonic()` after which no further window begins.

    Returns:
      Seconds of a step, for each window.
    """
    if steps is None:
        took = _seconds(take, 2) / 2
        steps = max(2, math.ceil(WINDOW_SECONDS / max(took, 1e-6)))
    found = [_seconds(take, steps) / steps]
    while len(found) < windows and time.monotonic() < deadline:
        found.append(_seconds(take, steps) / steps)
    return found


def untimed(seconds: list[float], windows: int) -> list[str]:
    """Says how many windows were not timed for lack of time; an empty list where all were.

    Args:
      seconds: Those that were timed.
      windows: Number of windows asked for.
    """
    missing = windows - len(seconds)
    return [f"{missing} of {windows} windows"] if missing else []


def _seconds(take: Callable[[int], None], steps: int) -> float:
    began = time.perf_counter()
    take(steps)
    return time.perf_counter() - began


def speed_of(seconds: list[float], units: float, flops: float | None, peak: float | None) -> Speed:
    """Computes a speed from the seconds of a step in each window.

    Args:
      seconds: Seconds of a step, for each window.
      units: Tokens or images of a step on one device.
      flops: Floating-point operations of a step on one device; None where they are not known.
      peak: Floating-point operations per second that the device can reach; None where it is not known.
    """
    share = None if flops is None or peak is None else flops / (median(seconds) * peak)
    return Speed(units / median(seconds), units / max(seconds), units / min(seconds), share)
