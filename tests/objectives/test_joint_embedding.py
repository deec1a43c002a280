"""Joint embeddings against their formulas written out; accumulation and devices; teachers; collapse."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.errors import InputError
from jaxssl.models.joint_embedding import project, project_and_predict
from jaxssl.objectives import SimSiam
from jaxssl.objectives.batch import Images, Text, Vocabulary
from jaxssl.objectives.teacher import Momentum
from jaxssl.objectives.views import fold
from jaxssl.training.collapse import CollapseAlarm
from jaxssl.training.mesh import Mesh, batch_sharding
from jaxssl.training.step import create_state, gradients_of, make_step
from tests.objectives.tiny_views import (
    GENTLE,
    OBJECTIVES,
    WIDTHS,
    tiny_captions,
    tiny_image_spec,
    tiny_images,
)

SPEC = tiny_image_spec()
VOCABULARY = Vocabulary.of(SPEC.captions)
KEY = jax.random.key(3)
PAIRS = ("simclr", "byol", "simsiam", "barlow_twins", "vicreg")


def batch_of(seed=1):
    return Images(
        jnp.asarray(tiny_images(seed)), Text(jnp.asarray(tiny_captions(seed)), VOCABULARY)
    )


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cosine(first, second):
    return (unit(first) * unit(second)).sum(axis=1)


def expected(name, views, other):
    """The loss of two views' (projections, predictions) and, for BYOL, the teacher's projections."""
    (z, p), (y, q) = views
    rows, width = z.shape
    if name == "simclr":
        all_rows = unit(np.concatenate([z, y]))
        scores = np.exp(all_rows @ all_rows.T / 0.1) * ~np.eye(2 * rows, dtype=bool)
        partner = np.roll(np.arange(2 * rows), rows)
        return -np.log(scores[np.arange(2 * rows), partner] / scores.sum(axis=1)).mean()
    if name == "byol":
        return (4 - 2 * cosine(p, other[1]) - 2 * cosine(q, other[0])).mean()
    if name == "simsiam":
        return -(cosine(p, y) + cosine(q, z)).mean() / 2
    if name == "barlow_twins":
        a, b = ((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) for x in (z, y))
        correlation = a.T @ b / rows
        off = correlation[~np.eye(width, dtype=bool)]
        return np.square(1 - np.diag(correlation)).sum() + 5e-3 * np.square(off).sum()
    total = 25 * np.square(z - y).mean()
    for x in (z, y):
        covariance = np.cov(x.T)
        total += 25 * np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)).mean() / 2
        total += np.square(covariance[~np.eye(width, dtype=bool)]).sum() / width
    return total


@pytest.mark.parametrize("name", PAIRS)
def test_is_the_formula(name, key):
    objective = OBJECTIVES[name]
    model, other = objective.init(key, SPEC), objective.init(jax.random.key(8), SPEC)
    state, examples = objective.init_state(other), objective.corrupt(batch_of(), key)
    np.testing.assert_allclose(examples.weights.sum(), 1.0, rtol=1e-6)
    loss, (_, metrics) = jax.jit(objective.loss)(model, state, examples, key)
    kinds = objective.views if isinstance(objective.views, tuple) else (objective.views,) * 2

    @jax.jit
    def written_out(model, teacher):
        """Each view by itself, where the objective embeds both at once."""
        results, targets = [], []
        for number, kind in enumerate(kinds):
            view = kind(examples.pixels, fold(examples.keys, number))
            embed = project if model.predictor is None else project_and_predict
            results.append((*embed(model, view)[:2],))
            targets.append(project(teacher, view)[0])
        return results, targets

    views, targets = jax.device_get(written_out(model, state.get("teacher", model)))
    np.testing.assert_allclose(loss, expected(name, views, targets), rtol=2e-4)
    np.testing.assert_allclose(metrics["loss"].number(), loss, rtol=1e-6)
    assert metrics["loss"].weight == 16
    apart = np.square(unit(views[0][0]) - unit(views[1][0])).sum(axis=1).mean()
    np.testing.assert_allclose(metrics["alignment"].number(), apart, rtol=1e-3)


def gradient(objective, microbatches, devices):
    model = objective.init(jax.random.key(1), SPEC)
    state = objective.init_state(model)

    @jax.jit
    def compute(model, state, pixels, tokens):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            batch = Images(pixels, Text(tokens, VOCABULARY))
            examples = objective.corrupt(batch, jax.random.key(2))
            return gradients_of(objective, model, state, examples, KEY, microbatches)

    mesh = Mesh().make(jax.devices()[:devices])
    rows = [
        jax.device_put(array, batch_sharding(mesh)) for array in (tiny_images(3), tiny_captions(3))
    ]
    model, state = jax.device_put((model, state), NamedSharding(mesh, PartitionSpec()))
    return jax.device_get(compute(model, state, *rows))


def relative_difference(first, second):
    difference = jax.tree.map(lambda a, b: a - b, first, second)
    return float(optax.tree.norm(difference) / optax.tree.norm(first))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_microbatches_and_devices_do_not_change_the_gradient(name):
    """Every row still meets all others: relative to the norm 1e-5; the state is carried alike."""
    objective = OBJECTIVES[name]
    exact, state, metrics = gradient(objective, 1, 1)
    assert float(optax.tree.norm(exact)) > 1e-2
    for microbatches, devices in ((4, 1), (2, 8)):
        again, carried, more = gradient(objective, microbatches, devices)
        assert relative_difference(exact, again) < 1e-5, (microbatches, devices)
        np.testing.assert_allclose(more["loss"].number(), metrics["loss"].number(), rtol=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), carried, state)


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


def test_batch_norms_are_exact_over_devices_and_their_statistics_are_carried(key):
    objective = dataclasses.replace(OBJECTIVES["simclr"], norm="batch")
    exact, state, _ = gradient(objective, 1, 1)
    again, carried, _ = gradient(objective, 1, 8)
    assert relative_difference(exact, again) < 1e-5
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), carried, state)
    model, examples = objective.init(key, SPEC), objective.corrupt(batch_of(), key)
    state = objective.init_state(model)
    for _ in range(60):  # 0.9^60 = 0.002: the average has become the batch's
        state = jax.jit(objective.loss)(model, state, examples, key)[1][0]
    trained, evaluated = (
        float(jax.jit(objective.loss)(model, state, examples, k)[0]) for k in (key, None)
    )
    assert evaluated == pytest.approx(trained, rel=2e-2)
    fresh = float(jax.jit(objective.loss)(model, objective.init_state(model), examples, None)[0])
    assert abs(fresh - trained) > abs(evaluated - trained)


def train(objective, steps, seed=0):
    """Metrics of every step."""
    run = SimpleNamespace(objective=objective, seed=seed, average=None, microbatches=1)
    mesh, optimizer = Mesh().make(jax.devices()[:1]), optax.adam(3e-3)
    state = create_state(run, optimizer, SPEC, mesh)
    step = make_step(run, optimizer, SPEC, mesh)
    found = []
    for number in range(steps):
        batch = {"images": tiny_images(number), "tokens": tiny_captions(number)}
        state, metrics = step(state, batch)
        found.append({name: ratio.number() for name, ratio in jax.device_get(metrics).items()})
    return found


def test_simsiam_without_its_stop_gradient_collapses():
    """Its spread falls below what the alarm allows and stays there; that of a healthy one does not."""
    healthy = SimSiam(OBJECTIVES["simsiam"].encoder, GENTLE, WIDTHS, WIDTHS, "batch")
    alarm = CollapseAlarm()
    for objective, collapses in (
        (healthy, False),
        (dataclasses.replace(healthy, stop_gradient=False), True),
    ):
        last = train(objective, 60)[-10:]
        assert all(bool(alarm.low(means)) == collapses for means in last), last[-1]
        assert (last[-1]["loss"] < -0.99) == collapses


@pytest.mark.parametrize(
    ("name", "changes", "line"),
    [
        ("simclr", {"temperature": 0.0}, "temperature=0.0 must be above 0"),
        ("simclr", {"projector": ()}, r"projector=\(\) must be the widths"),
        ("simclr", {"block_size": 0}, "block_size=0 must be at least 1"),
        ("byol", {"predictor": (4, 9)}, r"predictor=\(4, 9\) must end with 8"),
        ("simsiam", {"predictor": (0, 8)}, r"predictor=\(0, 8\) must be the widths"),
        ("barlow_twins", {"off_diagonal_weight": -1.0}, "off_diagonal_weight=-1.0"),
        ("vicreg", {"variance_weight": -1.0}, "variance_weight=-1.0 must not be negative"),
    ],
)
def test_bad_fields(name, changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(OBJECTIVES[name], **changes)


def test_bad_momentum():
    with pytest.raises(InputError, match=r"end=1.5 must lie in \[0, 1\]"):
        Momentum(end=1.5)
    with pytest.raises(InputError, match="steps=0 must be at least 1"):
        Momentum(steps=0)
