"""The whole plan: of a run on images, and the search for the largest microbatch."""

import dataclasses

import pytest

from jaxssl.data.rows import Rows
from jaxssl.planning.assumed_rows import assumed_rows
from jaxssl.planning.counts import count
from jaxssl.planning.page import as_json, as_text
from jaxssl.planning.plan import largest_microbatch, make_plan
from jaxssl.planning.refusals import DoesNotFit
from jaxssl.planning.targets import read_target
from tests.planning.tiny_runs import CAUSAL, SHADES, SIZES, plan_on


def test_a_run_on_images_is_planned():
    plan = make_plan(SHADES, read_target("cpu:8"), size=(8, 6))
    assert plan.counts.flops == 3 * 16 * 2 * (8 * 6 * 3 + 1)  # the product, and the weighted sum
    # model, two moments and counters, and the two images of a device
    assert plan.measured.memory.arguments == pytest.approx(
        3 * 4 * 8 * 6 * 3 + 2 * 8 * 6 * 3, abs=32
    )
    assert {total.kind for total in plan.measured.collectives} == {"all-reduce"}
    page = as_text(plan, "shades.py")
    assert "rows        8x6x3 pixels (from --size)" in page
    assert "16 images; 2 rows of a device" in page
    assert "a parameter and image" in page
    assert as_json(plan, "shades.py")["height"] == 8


@pytest.mark.slow
def test_the_fewest_microbatches_that_fit(monkeypatch):
    """By bisection over the divisors of a device's rows; the memory is set between two of them."""
    config = dataclasses.replace(CAUSAL, data=Rows("nowhere", batch=64))
    target = read_target("cpu:1")
    totals = {}
    for microbatches in (1, 4):
        candidate = dataclasses.replace(config, microbatches=microbatches)
        totals[microbatches] = plan_on(candidate, "cpu:1").measured.memory.total
    assert totals[1] > 1.1 * totals[4]
    limit = totals[4] + 1
    monkeypatch.setattr(type(target), "memory", limit)
    found = largest_microbatch(config, target, length=32, vocab_size=64)
    assert found.microbatches in (2, 4)
    assert plan_on(found, "cpu:1").measured.memory.total <= limit
    state = count(config, assumed_rows(config, 32, 64)[0], dict.fromkeys(SIZES, 1))
    monkeypatch.setattr(type(target), "memory", state.state_per_device + 1000)
    with pytest.raises(DoesNotFit, match=r"of them state\), and cpu:1 has 0.00"):
        largest_microbatch(config, target, length=32, vocab_size=64)
