"""The alarm: so many reports in a row, once, or the end of the run; and what it says of SimSiam."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.errors import InputError
from jaxssl.objectives.batches.batch import Images
from jaxssl.training.collapse import CollapseAlarm, Collapsed, CollapseWatch
from tests.objectives.tiny_views import OBJECTIVES
from tests.tiny import tiny_image_spec, tiny_images

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
    with pytest.raises(Collapsed, match=r"up to step 2; lower the optimizer's peak"):
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


def alarms(objective, seeds, reports=16, every=10):
    """For each seed, what the alarm said over a short run's reports, and the last of them."""
    optimizer = optax.adam(5e-3)

    @jax.jit
    def learn(model, state, moments, pixels, key):
        examples = objective.corrupt(Images(pixels), key)
        gradients, (state, metrics) = jax.grad(objective.loss, has_aux=True)(
            model, state, examples, key
        )
        updates, moments = optimizer.update(gradients, moments)
        return optax.apply_updates(model, updates), state, moments, metrics

    said = []
    for seed in range(seeds):
        model = objective.init(jax.random.key(seed), tiny_image_spec(batch=32))
        state, moments = objective.init_state(model), optimizer.init(model)
        watch, text = CollapseWatch(CollapseAlarm()), ""
        for report in range(reports):
            found = []
            for step in range(report * every, report * every + every):
                pixels = jnp.asarray(tiny_images(1000 * seed + step, batch=32))
                key = jax.random.key(1000 * seed + step)
                model, state, moments, metrics = learn(model, state, moments, pixels, key)
                found.append({name: ratio.number() for name, ratio in metrics.items()})
            means = {name: np.mean([one[name] for one in found]) for name in found[0]}
            text += watch.look(report, means)
        said.append((text, means))
    return said


@pytest.mark.slow
def test_simsiam_raises_the_alarm_where_it_collapses():
    """Five healthy seeds do not; without batch norms and without the stop gradient all becomes one point.

    A batch norm on the projections keeps their spread up, even without the stop gradient.
    """
    healthy = dataclasses.replace(OBJECTIVES["simsiam"], projector=(32, 32), predictor=(16, 32))
    for text, means in alarms(healthy, seeds=5):
        assert not text, means
    plain = dataclasses.replace(healthy, norm="layer", stop_gradient=False)
    ((text, means),) = alarms(plain, seeds=1)
    assert "embeddings have collapsed: spread" in text, means
    assert means["loss"] < -0.99
