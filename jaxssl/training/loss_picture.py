"""Draws the loss of a run over its steps, as a picture and as a line of text."""

import math
from pathlib import Path
from typing import Any

from jaxssl.data.images import ImageSpec
from jaxssl.objectives import CausalLM, ImageText, MaskedLM, Rotation, SimCLR
from jaxssl.objectives.rotation import ROTATIONS
from jaxssl.runs.metrics_file import read_records

SPARKS = "▁▂▃▄▅▆▇█"


def read_metrics(run: Path, kind: str) -> list[dict[str, Any]]:
    """Reads the records of one kind from the `metrics.jsonl` of a run.

    Args:
      run: Folder of the run.
      kind: "train" or "valid".

    Returns:
      The last record of every step, in the order of the steps. Lines that hold no record with a step and
      a loss are left out. The mean of nothing is NaN.
    """
    by_step = {}
    for record in read_records(run / "metrics.jsonl"):
        if record["kind"] == kind and _is_whole(record):
            by_step[record["step"]] = {
                name: math.nan if value is None else value for name, value in record.items()
            }
    return [by_step[step] for step in sorted(by_step)]


def _is_whole(record: dict[str, Any]) -> bool:
    loss = record.get("loss", "")
    return loss is None or type(loss) in (int, float)


def chance_loss(objective: Any, spec: Any) -> float | None:
    """Returns the loss of a network that takes all answers for equally likely, in nats.

    Args:
      objective: Objective of the run.
      spec: Description of its batches.

    Returns:
      The loss; None for an objective without such a value.
    """
    match objective:
        case SimCLR():
            return math.log(2 * spec.batch - 1)  # all other views of the batch
        case ImageText(kind="clip"):
            return math.log(spec.batch)
        case Rotation():
            return math.log(ROTATIONS)
        case MaskedLM() | CausalLM() if not isinstance(spec, ImageSpec):
            return math.log(spec.vocab_size)
    return None


def draw_losses(run: Path, chance: float | None = None) -> Path:
    """Draws `loss.png` in the folder `run`: the loss in training and on held-out rows.

    Args:
      run: Folder of the run.
      chance: Loss of guessing, which is drawn as a dashed line; None draws no such line.

    Returns:
      The path of the picture.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for kind, label, style in (("train", "training", "-"), ("valid", "held out", "o-")):
        records = read_metrics(run, kind)
        axes.plot([r["step"] for r in records], [r["loss"] for r in records], style, label=label)
    if chance is not None:
        axes.axhline(chance, color="grey", linestyle="--", label=f"chance, {chance:.3f}")
    axes.set(xlabel="step", ylabel="loss")
    axes.set_title(run.name, parse_math=False)  # "$" in the name of a folder begins no formula
    axes.grid(alpha=0.3)
    axes.legend()
    path = run / "loss.png"
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path


def spark_line(values: list[float], width: int = 60) -> str:
    """Draws finite `values` as at most `width` characters between the first and the last value."""
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return ""
    picked = [values[i * len(values) // width] for i in range(min(width, len(values)))]
    if len(values) <= width:
        picked = values
    low, high = min(picked), max(picked)
    span = (high - low) or 1.0
    blocks = (SPARKS[int((value - low) / span * (len(SPARKS) - 1))] for value in picked)
    return f"{values[0]:.2f} {''.join(blocks)} {values[-1]:.2f}"
