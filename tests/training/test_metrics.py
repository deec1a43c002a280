"""What a report asks of the device, what it writes, and that means over many parts are exact."""

import json
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.objectives.batches.batch import Ratio
from jaxssl.optimizers import AdamW
from jaxssl.training.metrics import (
    RUN_AHEAD,
    NotFinite,
    Report,
    averages,
    clock,
    peak_flops,
    rate_of,
    standard_error,
)


class Pending:
    """A metric of a step that the device is still at, and a note of when it is waited for."""

    def __init__(self, step, waited):
        self.step, self.waited = step, waited

    def block_until_ready(self):
        self.waited.append(self.step)
        return self


def report(folder: Path, **changes) -> Report:
    values = {
        "start": 0,
        "steps": 100,
        "report_every": 50,
        "unit": "tokens",
        "units_per_step": 8,
        "flops_per_step": 1.0,
        "rows_of_step": lambda step: f"rows of step {step}",
    }
    return Report(folder, **{**values, **changes})


def test_the_host_stays_a_few_steps_ahead(tmp_path):
    waited = []
    with report(tmp_path) as told:
        for step in range(20):
            told.step(step, {"loss": Pending(step, waited)})
    assert waited == list(range(20 - RUN_AHEAD))


def test_means_are_of_totals_and_weights_not_of_means():
    """(1 + 9) / (1 + 3) = 2.5; the mean of the means 1 and 3 would be 2."""
    parts = [
        {"loss": Ratio(np.float32(1), np.float32(1))},
        {"loss": Ratio(np.float32(9), np.float32(3))},
    ]
    assert averages(parts) == {"loss": 2.5}


def test_steps_between_two_reports_are_averaged_by_weight(tmp_path, capsys):
    with report(tmp_path, steps=2, report_every=2) as told:
        told.step(0, {"loss": Ratio(jnp.float32(1), jnp.float32(1))})
        told.step(1, {"loss": Ratio(jnp.float32(9), jnp.float32(3))})
    (record,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert (record["kind"], record["step"], record["loss"]) == ("train", 2, 2.5)
    assert "loss 2.5000" in capsys.readouterr().out


def test_a_loss_that_is_no_number_names_its_rows(tmp_path):
    with report(tmp_path, report_every=1) as told, pytest.raises(NotFinite, match="rows of step 3"):
        told.step(3, {"loss": Ratio(jnp.float32(math.inf), jnp.float32(1))})


def test_nothing_is_said_of_a_peak_that_is_not_known(tmp_path, capsys):
    assert peak_flops() is None  # of a CPU
    with report(tmp_path, steps=1, report_every=1) as told:
        told.step(0, {"loss": Ratio(jnp.float32(1), jnp.float32(1))})
    assert "peak" not in capsys.readouterr().out
    assert "share_of_peak" not in (tmp_path / "metrics.jsonl").read_text()


def test_the_mean_of_nothing_is_not_zero(tmp_path, capsys):
    nothing = Ratio(jnp.float32(0), jnp.float32(0))
    metrics = {"loss": Ratio(jnp.float32(2), jnp.float32(1)), "pair_accuracy": nothing}
    with report(tmp_path, steps=1, report_every=1) as told:
        told.step(0, metrics)
        assert told.evaluation(1, [metrics]) == {"loss": 2.0}
    trained, valid = capsys.readouterr().out.splitlines()
    assert "pair accuracy -  " in trained
    assert valid.endswith("held-out (1 batch): loss 2.0000  pair_accuracy -")
    for line in (tmp_path / "metrics.jsonl").open():
        assert "NaN" not in line
        assert json.loads(line)["pair_accuracy"] is None


def test_a_loss_of_nothing_is_no_loss(tmp_path, capsys):
    """As of words without a neighbour: it is neither shown as 0 nor taken for the best."""
    metrics = {"loss": Ratio(jnp.float32(0), jnp.float32(0))}
    with report(tmp_path, steps=1, report_every=1) as told:
        told.step(0, metrics)
        assert told.evaluation(1, [metrics, metrics]) == {}
    trained, valid = capsys.readouterr().out.splitlines()
    assert "loss -  " in trained
    assert valid.endswith("held-out (all 2 batches): loss -")
    assert all(json.loads(line)["loss"] is None for line in (tmp_path / "metrics.jsonl").open())


def test_an_evaluation_says_how_many_batches_it_has_read_and_how_sure_it_is(tmp_path, capsys):
    parts = [{"loss": Ratio(jnp.float32(value), jnp.float32(1))} for value in (1, 2, 3, 6)]
    with report(tmp_path) as told:
        scores = told.evaluation(5, parts, of=301)
        told.evaluation(6, parts, of=4)
    error = np.std([1, 2, 3, 6], ddof=1) / 2  # with equal weights, that of a mean
    assert scores == pytest.approx({"loss": 3.0, "loss_error": error})
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(f"held-out (4 of 301 batches): loss 3.0000 ± {error:.4f}")
    assert "held-out (all 4 batches)" in second


def test_the_standard_error_covers_the_mean_of_all_rows():
    """Of batches of uneven weights, the mean is within 2 errors of the truth in about 95 % of samples."""
    random = np.random.default_rng(0)
    weights = random.integers(1, 20, (400, 40)).astype(np.float64)
    totals = weights * (3 + random.normal(size=(400, 40)))
    found = [
        standard_error([Ratio(t, w) for t, w in zip(*both, strict=True)])
        for both in zip(totals, weights, strict=True)
    ]
    apart = np.abs(totals.sum(axis=1) / weights.sum(axis=1) - 3)
    assert 0.9 < (apart < 2 * np.array(found)).mean() < 0.99
    assert math.isnan(standard_error([Ratio(np.float32(1), np.float32(1))]))


def test_clock():
    assert clock(3 * 3600 + 62.4) == "3:01:02"


def test_the_learning_rate_of_the_last_step_is_written(tmp_path, capsys):
    rates = rate_of(AdamW(peak=1e-3, warmup=1, schedule="linear"), 10)
    with report(tmp_path, steps=10, report_every=4, learning_rate=rates) as told:
        for step in range(4):
            told.step(step, {"loss": Ratio(jnp.float32(1), jnp.float32(1))})
    (record,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert record["learning_rate"] == pytest.approx(1e-3 * 7 / 9)  # of step 3: two of nine are down
    assert "rate 0.000778" in capsys.readouterr().out
    assert rate_of(object(), 10) is None
