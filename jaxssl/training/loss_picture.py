"""Draws the loss of a run over its steps, as a picture and as a line of text."""

import json
import math
from pathlib import Path
from typing import Any

SPARKS = "▁▂▃▄▅▆▇█"


def read_metrics(run: Path, kind: str) -> list[dict[str, Any]]:
    """Reads the records of one kind from the `metrics.jsonl` of a run.

    Args:
      run: Folder of the run.
      kind: "train" or "valid".

    Returns:
      The last record of every step, in the order of the steps. The mean of nothing is NaN.
    """
    by_step = {}
    with (run / "metrics.jsonl").open(encoding="utf8") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:  # a killed run may have left half a line
                continue
            if record["kind"] == kind:
                by_step[record["step"]] = {
                    name: math.nan if value is None else value for name, value in record.items()
                }
    return [by_step[step] for step in sorted(by_step)]


def draw_losses(run: Path) -> Path:
    """Draws `loss.png` in the folder `run`: the loss in training and on held-out rows. Returns its path."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for kind, label, style in (("train", "training", "-"), ("valid", "held out", "o-")):
        records = read_metrics(run, kind)
        axes.plot([r["step"] for r in records], [r["loss"] for r in records], style, label=label)
    axes.set(xlabel="step", ylabel="loss", title=run.name)
    axes.grid(alpha=0.3)
    axes.legend()
    path = run / "loss.png"
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path


def spark_line(values: list[float], width: int = 60) -> str:
    """Draws `values`, but for NaN, as at most `width` characters between the first and the last value."""
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return ""
    picked = [values[i * len(values) // width] for i in range(min(width, len(values)))]
    if len(values) <= width:
        picked = values
    low, high = min(picked), max(picked)
    span = (high - low) or 1.0
    blocks = (SPARKS[int((value - low) / span * (len(SPARKS) - 1))] for value in picked)
    return f"{values[0]:.2f} {''.join(blocks)} {values[-1]:.2f}"
