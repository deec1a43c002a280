"""The collapse alarm: warns when the embeddings of all rows have become one point or lie on a line.

The loss may not show it. An objective whose metrics have `spread` or `effective_rank`
(`objectives/joint_embedding/geometry.py`) is watched. A network at its start may look the same for a
while, so only several reports in a row count.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxssl.errors import InputError, check_at_least, checked


class Collapsed(InputError):
    """The embeddings of different rows can no longer be told apart."""


@dataclass(frozen=True)
@checked
class CollapseAlarm:
    """When a run warns that embeddings have collapsed, or stops."""

    spread: float = 0.1
    """Lower limit of the spread of the embeddings: 1 is a full sphere, 0 is one point. 0 is no limit."""
    effective_rank: float = 1.5
    """Lower limit of the effective number of dimensions that the embeddings fill. 0 is no limit."""
    reports: int = 3
    """Number of reports in a row with a value below its limit after which the alarm is raised."""
    stop: bool = False
    """Whether the run ends with an error then; otherwise it prints a warning."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "reports")
        for name in ("spread", "effective_rank"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"{name}={getattr(self, name)} must not be negative; 0 is no limit"
                )

    def low(self, means: Mapping[str, float]) -> str:
        """Describes the metrics among `means` that are below their limits; empty where none is."""
        return " and ".join(
            f"{name.replace('_', ' ')} {means[name]:.3f} (limit {getattr(self, name):g})"
            for name in ("spread", "effective_rank")
            if name in means and means[name] < getattr(self, name)
        )


class CollapseWatch:
    """Counts reports in a row that are below the limits of an alarm, and warns once for each such series."""

    def __init__(self, alarm: CollapseAlarm):
        """Starts to count with the limits of `alarm`."""
        self.alarm = alarm
        self.count = 0  # of reports below, one after another

    def look(self, step: int, means: Mapping[str, float]) -> str:
        """Looks at the `means` of a report after `step` steps.

        Returns:
          A warning if this report completes a series, else an empty text.

        Raises:
          Collapsed: The series is complete, and the alarm stops the run.
        """
        low = self.alarm.low(means)
        self.count = self.count + 1 if low else 0
        if self.count != self.alarm.reports:
            return ""
        text = f"embeddings have collapsed: {low} in {self.count} reports up to step {step}"
        if self.alarm.stop:
            raise Collapsed(
                f"{text}; lower the optimizer's peak, weaken the views or check the objective, or let it "
                "go on with collapse.stop=False"
            )
        return f"warning: {text}; collapse.stop=True ends such a run"
