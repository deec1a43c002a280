"""Collects and writes the metrics of a run: lines to read, `metrics.jsonl` and TensorBoard files.

Between reports nothing is fetched: metrics stay on the device until a report is due. The host runs a few
steps ahead of the device and no further, since a request to stop waits for all steps that it has started.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX import SummaryWriter

from jaxssl.objectives.batches.batch import Metric, Separation
from jaxssl.optimizers.recipes import Recipe
from jaxssl.runs.hosts import print_once
from jaxssl.runs.metrics_file import MetricsFile
from jaxssl.runs.stored_runs import run_folder
from jaxssl.training.chips import device_peak
from jaxssl.training.collapse import CollapseAlarm, CollapseWatch
from jaxssl.training.config import Pretraining, Reader
from jaxssl.training.finite import NotFinite, advice
from jaxssl.training.flops import step_flops

NOT_SHOWN = (
    "share_of_peak",
    "gradient_norm",
    "input_seconds",
    "learning_rate",
)  # as the others are
RUN_AHEAD = 4  # steps; enough that the device never waits for the host


class Report:
    """Collects the metrics of every step; prints and writes their means every `report_every` steps."""

    def __init__(
        self,
        folder: Path,
        *,
        start: int,
        steps: int,
        report_every: int,
        unit: str,
        units_per_step: float,
        flops_per_step: float,
        rows_of_step: Callable[[int], str],
        collapse: CollapseAlarm | None = None,
        learning_rate: Callable[[int], Any] | None = None,
    ):
        """Opens `metrics.jsonl` and the TensorBoard files of a run, on the first host.

        Args:
          folder: Folder of the run on this machine.
          start: Steps that the run has taken already.
          steps: Steps after which the run ends.
          report_every: Steps between two lines.
          unit: What speed is counted in, "tokens" or "images".
          units_per_step: How many of them a step of the global batch has.
          flops_per_step: Floating-point operations of a step of the global batch.
          rows_of_step: Function that describes the rows of a step, for the message of `NotFinite`.
          collapse: When to warn that embeddings have collapsed; None for the usual limits.
          learning_rate: Learning rate as a function of the step, counted from 0; None reports none.
        """
        self.learning_rate = learning_rate
        self.folder, self.steps, self.every = folder, steps, report_every
        self.unit, self.units_per_step = unit, units_per_step
        self.flops_per_step, self.rows_of_step = flops_per_step, rows_of_step
        self.waiting: list[tuple[int, Mapping[str, Metric]]] = []
        self.input_seconds = 0.0  # since the last report
        self.peak = peak_flops()
        self.collapse = CollapseWatch(collapse or CollapseAlarm())
        self.first_step = start
        self.clock = self.began = time.perf_counter()
        self.lines: MetricsFile | None = None
        self.board: SummaryWriter | None = None
        if jax.process_index() == 0:
            self.lines = MetricsFile(folder / "metrics.jsonl", start)
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=start)

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, *_: object) -> None:
        if self.lines and self.board:
            self.lines.close()
            self.board.close()

    def step(self, step: int, metrics: Mapping[str, Metric]) -> None:
        """Takes the `metrics` of step number `step`, counted from 0, and reports when a report is due."""
        self.waiting.append((step, metrics))
        if len(self.waiting) > RUN_AHEAD:
            jax.block_until_ready(self.waiting[-1 - RUN_AHEAD][1])
        if (step + 1) % self.every == 0 or step + 1 == self.steps:
            self.tell()

    @contextlib.contextmanager
    def input(self) -> Iterator[None]:
        """Measures the seconds that the loop takes to read a batch, as a context manager around reading."""
        began = time.perf_counter()
        yield
        self.input_seconds += time.perf_counter() - began

    def tell(self) -> None:
        """Waits for the device, checks every step since the last report, prints and writes their means.

        Raises:
          NotFinite: A metric of one of these steps is infinite or not a number.
        """
        if not self.waiting:
            return
        fetched = jax.device_get(self.waiting)
        for step, metrics in fetched:
            self._check_finite(step, metrics)
        count, last = len(fetched), fetched[-1][0] + 1
        now = time.perf_counter()
        seconds, self.clock = now - self.clock, now
        self.waiting = []
        input_seconds, self.input_seconds = self.input_seconds / count, 0.0
        means = averages([metrics for _, metrics in fetched])
        means[f"{self.unit}_per_second"] = self.units_per_step * count / seconds
        if self.peak is not None:
            means["share_of_peak"] = self.flops_per_step * count / seconds / self.peak
        means["input_seconds"] = input_seconds
        if self.learning_rate is not None:
            means["learning_rate"] = float(self.learning_rate(last - 1))
        left = (now - self.began) / (last - self.first_step) * (self.steps - last)
        self._write("train", last, means)
        print_once(_line(last, self.steps, means, left, self.unit))
        if warning := self.collapse.look(last, means):
            print_once(warning)

    def evaluation(
        self,
        step: int,
        sums: Sequence[Mapping[str, Metric]],
        scores: Mapping[str, float] = {},
        *,
        of: int | None = None,
    ) -> dict[str, float]:
        """Prints and writes the evaluation after `step` steps.

        Args:
          step: Number of steps that the run has taken.
          sums: Metrics of the evaluated batches, totals and weights.
          scores: Other scores by name, which are means already.
          of: Number of all held-out batches; None for those that were evaluated.

        Returns:
          All means and scores by name, and `loss_error`, the standard error of the loss; but no mean of
          nothing, which is not known.
        """
        fetched = jax.device_get(sums)
        means = averages(fetched)
        error = standard_error([part["loss"] for part in fetched if "loss" in part])
        means = {**means, "loss_error": error, **scores}
        known = self._write("valid", step, means)
        read = _of_all(len(fetched), of)
        print_once(f"step {step:>7,}  held-out ({read}): {_shown_evaluation(means)}")
        self.clock = time.perf_counter()  # the time of an evaluation is not the step's
        return known

    def _write(self, kind: str, step: int, means: dict[str, float]) -> dict[str, float]:
        """Writes means down, and returns those that are known: the mean of nothing is NaN."""
        known = {name: value for name, value in means.items() if not math.isnan(value)}
        if self.lines is None or self.board is None:
            return known
        self.lines.write({"kind": kind, "step": step, "time": time.time(), **means})
        for name, value in known.items():
            self.board.add_scalar(f"{kind}/{name}", value, step)
        return known

    def _check_finite(self, step: int, metrics: Mapping[str, Metric]) -> None:
        """Raises NotFinite that names the step, its rows and their documents."""
        for name, metric in metrics.items():
            value = float(np.sum(metric[0]))
            if not math.isfinite(value):
                raise NotFinite(
                    f"{name} is {value} at step {step}, of {self.rows_of_step(step)}; "
                    f"{advice(self.folder / 'checkpoints')}"
                )


def training_report(config: Pretraining, rows: Reader, *, start: int) -> Report:
    """Returns the report of a pretraining run.

    Args:
      config: Configuration of the run.
      rows: Reader of its training rows.
      start: Steps that the run has taken already.
    """

    def rows_of_step(step: int) -> str:
        ids = rows.row_ids(step)
        documents = sorted(set(rows.documents(ids)))
        more = f" and {len(documents) - 4} more" if len(documents) > 4 else ""
        listed = ", ".join(str(i) for i in ids[:8])
        return f"rows {listed}, … of documents {', '.join(documents[:4])}{more}"

    return Report(
        run_folder(config.run),
        start=start,
        steps=config.steps,
        report_every=config.report_every,
        unit=rows.spec.unit,
        units_per_step=rows.spec.units,
        flops_per_step=step_flops(config.objective, rows.spec).total,
        rows_of_step=rows_of_step,
        collapse=config.collapse,
        learning_rate=rate_of(config.optimizer, config.steps),
    )


def rate_of(optimizer: Any, steps: int) -> Callable[[int], Any] | None:
    """Returns the learning rate of an optimizer as a function of the step, counted from 0.

    Args:
      optimizer: Configuration of the optimizer.
      steps: Number of steps of the run.

    Returns:
      The function; None for an optimizer of the user's own that is no `Recipe`.
    """
    return optimizer.rate(steps) if isinstance(optimizer, Recipe) else None


def averages(parts: Sequence[Mapping[str, Metric]]) -> dict[str, float]:
    """Computes exact means: totals and weights of all `parts` are added in float64, then divided."""

    def add(*arrays: Any) -> Any:
        return np.sum(np.asarray(arrays, np.float64), axis=0)

    sums = jax.tree.map(add, *parts)
    return {name: metric.number() for name, metric in sums.items()}


def standard_error(parts: Sequence[Metric]) -> float:
    """Returns the standard error of the mean of a metric over batches that are a sample of all rows.

        sqrt(n / (n - 1) sum_i (total_i - mean weight_i)^2) / sum_i weight_i    (Cochran 1977, section 6.5)

    Of a sum of ratios, the terms' deviations in a batch are added before they are squared.

    Args:
      parts: The metric of each of n batches, ratios on the host.

    Returns:
      The error in the unit of the mean; NaN for fewer than two batches, and without any weight.
    """
    ratios = [part for part in parts if not isinstance(part, Separation) and np.any(part.weight)]
    count = len(ratios)
    if count < 2:
        return math.nan
    totals, weights = (
        np.array([part[i] for part in ratios], np.float64).reshape(count, -1) for i in range(2)
    )
    sums = np.maximum(weights.sum(axis=0), 1e-300)  # a term without any weight has no total
    apart = ((totals - totals.sum(axis=0) / sums * weights) / sums).sum(axis=1)
    return float(np.sqrt(count / (count - 1) * np.square(apart).sum()))


def peak_flops() -> float | None:
    """Returns the FLOP/s that all devices together can reach, by their makers' figures.

    None for a kind of device that is not known, among them every CPU: measurements beside other work differ
    by more than the share of the peak that they would be good for.
    """
    device = jax.devices()[0]
    peak = None if device.platform == "cpu" else device_peak(device.device_kind)
    return None if peak is None else peak * jax.device_count()


def _line(step: int, steps: int, means: dict[str, float], left: float, unit: str) -> str:
    speed = f"{unit}_per_second"
    shown = [f"step {step:>7,} of {steps:,}", f"loss {number(means['loss'], 4)}"]
    shown += [
        f"{name.replace('_', ' ')} {number(means[name], 3)}"
        for name in means
        if name not in {"loss", speed, *NOT_SHOWN}
    ]
    if "learning_rate" in means:
        shown.append(f"rate {means['learning_rate']:.3g}")
    shown.append(f"{means[speed]:,.0f} {unit}/s, input {1e3 * means['input_seconds']:.1f} ms")
    if "share_of_peak" in means:
        shown.append(f"{means['share_of_peak']:.0%} of peak")
    return "  ".join(shown + [f"left {clock(left)}"])


def number(value: float, digits: int) -> str:
    """Formats `value` with so many `digits` behind the point; "-" for the mean of nothing, which is NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _of_all(batches: int, every: int | None) -> str:
    """Says how many of all held-out batches were read."""
    if every is None or batches >= every:
        return f"all {batches:,} batches" if batches != 1 else "1 batch"
    return f"{batches:,} of {every:,} batches"


def _shown_evaluation(means: Mapping[str, float]) -> str:
    """Lists means; the standard error stands behind the loss where it is known."""
    error = means.get("loss_error", math.nan)
    shown = {name: number(value, 4) for name, value in means.items() if name != "loss_error"}
    if "loss" in shown and not math.isnan(error):
        shown["loss"] += f" ± {error:.4f}"
    return "  ".join(f"{name} {value}" for name, value in shown.items())


def clock(seconds: float) -> str:
    """Formats `seconds` as h:mm:ss."""
    whole = int(seconds + 0.5)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
