"""Running statistics of batch norms: in which parts they are, and that evaluation uses them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives.joint_embedding.batch_statistics import (
    first_statistics,
    in_every_row,
    over_rows,
    statistics_for,
    update_statistics,
)
from tests.objectives.tiny_views import OBJECTIVES
from tests.objectives.two_views_by_hand import SPEC, batch_of


@pytest.mark.slow
def test_statistics_of_batch_norms_are_used_in_evaluation(key):
    """Of the encoder and of both heads; that they are exact over devices is in `test_meshes.py`."""
    encoder = ResNetConfig(depth=10, width=4, norm="batch")
    objective = dataclasses.replace(OBJECTIVES["byol"], encoder=encoder)
    model, examples = objective.init(key, SPEC), objective.corrupt(batch_of(), key)
    first = state = objective.init_state(model)
    loss = jax.jit(objective.loss)
    for _ in range(60):  # 0.9^60 = 0.002: the average has become the batch's
        trained, (state, _) = loss(model, state, examples, key)
    evaluated, (same, _) = loss(model, state, examples, None)
    assert float(evaluated) == pytest.approx(float(trained), rel=2e-2)
    jax.tree.map(np.testing.assert_array_equal, same, state)
    fresh, _ = loss(model, first, examples, None)
    assert abs(fresh - trained) > abs(evaluated - trained)


def test_statistics_move_a_tenth_of_the_way():
    state = {"statistics": {"mean": jnp.ones(3)}, "teacher": 7}
    moved = update_statistics(state, {"mean": jnp.full(3, 11.0)})
    np.testing.assert_allclose(moved["statistics"]["mean"], 2.0)
    assert moved["teacher"] == 7
    assert statistics_for(state, jax.random.key(0)) is None
    assert statistics_for(state, None) is state["statistics"]
    rows = in_every_row({"mean": jnp.arange(3.0)}, 4)
    assert rows["mean"].shape == (4, 3)
    np.testing.assert_array_equal(over_rows(rows)["mean"], jnp.arange(3.0))


def test_a_network_without_batch_norms_has_none(key):
    model = jax.eval_shape(lambda: OBJECTIVES["simclr"].init(key, SPEC))
    assert jax.tree.leaves(first_statistics(model)) == []
