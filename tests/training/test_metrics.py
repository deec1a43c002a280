"""What a report asks of the device, what it writes, and that means over many parts are exact."""

import json
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.objectives.batches.batch import Ratio
from jaxssl.training.metrics import RUN_AHEAD, NotFinite, Report, averages, clock, peak_flops


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


def test_the_peak_is_found_once():
    assert peak_flops() == peak_flops() > 1e8


def test_clock():
    assert clock(3 * 3600 + 62.4) == "3:01:02"
