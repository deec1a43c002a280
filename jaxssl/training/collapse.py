"""The collapse alarm: embeddings that have become one, or lie on a line, whatever the loss says.

An objective whose metrics have `spread` or `effective_rank` (`objectives/geometry.py`) is watched; a new
network may be as narrow for a while, so that only some reports in a row count.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxssl.errors import InputError


class Collapsed(InputError):
    """Embeddings tell rows apart no more."""


@dataclass(frozen=True)
class CollapseAlarm:
    """When a run warns, or stops."""

    spread: float = 0.1  # it warns below: 1 is a full sphere, 0 one point
    effective_rank: float = 1.5  # or below this many dimensions
    reports: int = 3  # in so many reports, one after another
    stop: bool = False  # the run ends by it

    def __post_init__(self) -> None:
        if self.reports < 1:
            raise InputError(f"reports={self.reports} must be at least 1")
        for name in ("spread", "effective_rank"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"{name}={getattr(self, name)} must not be negative; 0 is no limit"
                )

    def low(self, means: Mapping[str, float]) -> str:
        """The metrics that lie below their limits, in words; empty where none does."""
        return " and ".join(
            f"{name.replace('_', ' ')} {means[name]:.3f} (limit {getattr(self, name):g})"
            for name in ("spread", "effective_rank")
            if name in means and means[name] < getattr(self, name)
        )


class CollapseWatch:
    """Counts reports below the limits; says so once until a report is above them."""

    def __init__(self, alarm: CollapseAlarm):
        self.alarm = alarm
        self.count = 0  # of reports below, one after another

    def look(self, step: int, means: Mapping[str, float]) -> str:
        """A warning where the time has come, else an empty text. Raises Collapsed where it stops."""
        low = self.alarm.low(means)
        self.count = self.count + 1 if low else 0
        if self.count != self.alarm.reports:
            return ""
        text = f"embeddings have collapsed: {low} in {self.count} reports up to step {step}"
        if self.alarm.stop:
            raise Collapsed(
                f"{text}; lower --optimizer.peak, weaken the views or check the objective, or let it "
                "go on with --collapse.no-stop"
            )
        return f"warning: {text}; --collapse.stop ends such a run"
