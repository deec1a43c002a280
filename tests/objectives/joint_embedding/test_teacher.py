"""A teacher: its momentum, how it follows the student, and that it gets no gradient."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.objectives.joint_embedding.teacher import Momentum
from tests.objectives.tiny_views import OBJECTIVES
from tests.objectives.two_views_by_hand import SPEC, batch_of


def test_the_teacher_follows_and_gets_no_gradient(key):
    momentum = Momentum(0.5, 0.9, steps=4)
    objective = dataclasses.replace(OBJECTIVES["byol"], momentum=momentum)
    model, other = objective.init(key, SPEC), objective.init(jax.random.key(8), SPEC)
    state = objective.init_state(other)
    middle = 0.9 - 0.4 * (np.cos(np.pi / 4) + 1) / 2
    for step, share in ((0, 0.5), (1, middle), (2, 0.7), (4, 0.9), (9, 0.9)):
        moved = objective.follow(state, model, jnp.int32(step))["teacher"]
        for part in ("encoder", "projector"):
            jax.tree.map(
                lambda old, new, got, m=share: np.testing.assert_allclose(
                    got, m * old + (1 - m) * new, atol=1e-6
                ),
                *(getattr(tree, part) for tree in (other, model, moved)),
            )
    examples = objective.corrupt(batch_of(), key)

    @jax.jit
    @jax.grad
    def by_teacher(teacher):
        return objective.loss(model, {**state, "teacher": teacher}, examples, key)[0]

    leaves = jax.tree.leaves(by_teacher(state["teacher"]))
    assert leaves
    assert all(not np.asarray(leaf).any() for leaf in leaves)


@pytest.mark.parametrize("name", ["byol", "dino"])
def test_the_momentum_grows_until_the_run_ends(name):
    """Also where the number of steps is changed: nothing has to be set twice."""
    objective = OBJECTIVES[name]
    for steps in (6, 12):
        momentum = objective.for_run(steps).momentum
        assert momentum.steps == steps
        assert float(momentum.at(steps - 1)) < 1
        assert float(momentum.at(steps)) == 1
    with pytest.raises(InputError, match="for_run"):
        objective.momentum.at(0)


def test_a_teacher_that_would_stand_still_is_refused():
    short = dataclasses.replace(OBJECTIVES["byol"], momentum=Momentum(0.9, steps=6))
    with pytest.raises(InputError, match="momentum.steps=6 is below steps=12.* stand still from"):
        short.for_run(12)
    assert short.for_run(6) == short
    moving = dataclasses.replace(short, momentum=Momentum(0.9, 0.99, steps=6))
    assert moving.for_run(12) == moving  # its teacher goes on moving


def test_bad_momentum():
    with pytest.raises(InputError, match="end=1.5 must be at least 0 and at most 1"):
        Momentum(end=1.5)
    with pytest.raises(InputError, match="steps=0 must be at least 1"):
        Momentum(steps=0)
