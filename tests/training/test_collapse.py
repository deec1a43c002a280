"""The alarm: so many reports in a row, once, or the end of the run."""

import pytest

from jaxssl.errors import InputError
from jaxssl.training.collapse import CollapseAlarm, Collapsed, CollapseWatch

HIGH, LOW = {"spread": 0.5, "effective_rank": 9.0}, {"spread": 0.05, "effective_rank": 9.0}
LINE = {"spread": 0.5, "effective_rank": 1.2}


def test_it_warns_once_after_some_reports_in_a_row():
    watch = CollapseWatch(CollapseAlarm(reports=3))
    said = [watch.look(step, means) for step, means in enumerate([LOW, LOW, HIGH, LOW, LINE])]
    assert said == [""] * 5
    warning = watch.look(5, LOW)
    assert warning.startswith("warning: embeddings have collapsed: spread 0.050 (limit 0.1)")
    assert "in 3 reports up to step 5" in warning
    assert watch.look(6, LOW) == ""
    watch.look(7, HIGH)
    again = [watch.look(step, LINE) for step in (8, 9, 10)]
    assert again[:2] == ["", ""]
    assert "effective rank 1.200 (limit 1.5)" in again[2]


def test_it_ends_the_run_on_request():
    watch = CollapseWatch(CollapseAlarm(reports=2, stop=True))
    watch.look(1, LOW)
    with pytest.raises(Collapsed, match=r"up to step 2; lower --optimizer.peak"):
        watch.look(2, LOW)


def test_metrics_of_other_objectives_are_no_collapse():
    watch = CollapseWatch(CollapseAlarm(reports=1))
    assert watch.look(1, {"loss": 0.0, "accuracy": 0.0}) == ""
    assert CollapseWatch(CollapseAlarm(0.0, 0.0, reports=1)).look(1, LOW) == ""  # no limit


def test_bad_limits():
    with pytest.raises(InputError, match="reports=0 must be at least 1"):
        CollapseAlarm(reports=0)
    with pytest.raises(InputError, match="spread=-1 must not be negative"):
        CollapseAlarm(spread=-1)
