"""DINO against a loop over pairs of crops; its temperature, its center, and prototypes that stay."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.augment import MultiCrop
from jaxssl.errors import InputError
from tests.objectives.learned_by_heart import check_learned
from tests.objectives.tiny_views import OBJECTIVES
from tests.objectives.two_views_by_hand import SPEC, batch_of, unit
from tests.tiny import tiny_image_spec


@pytest.mark.slow
def test_dino_pairs_every_crop_with_the_other_large_ones(key):
    """Against a loop over pairs of crops; the center is what the teacher gave on average."""
    objective = OBJECTIVES["dino"].for_run(100_000)
    model, other = objective.init(key, SPEC), objective.init(jax.random.key(8), SPEC)
    center = jnp.linspace(-0.5, 0.5, 24)
    state = {**objective.init_state(other), "center": center}
    examples = objective.corrupt(batch_of(), key)
    loss, (carried, metrics) = jax.jit(objective.loss)(model, state, examples, key)

    @jax.jit
    def projections(parts):
        crops = objective.crops(examples.pixels, examples.keys)
        flat = [crop for sizes in crops for crop in jnp.moveaxis(sizes, 1, 0)]
        return [parts.projector(parts.encoder(x)[0])[0] for x in flat]

    student, teacher = (
        np.stack([unit(rows) @ unit(parts.prototypes[...].T).T for rows in projections(parts)])
        for parts in (model, state["teacher"])
    )
    teacher = teacher[:2]

    def softmax(x):
        powers = np.exp(x - x.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    chosen = softmax((teacher - np.asarray(center)) / 0.04)
    guessed = softmax(student / 0.1)
    pairs = [
        -(chosen[t] * np.log(guessed[s])).sum(axis=-1).mean()
        for t in range(2)
        for s in range(4)
        if s != t
    ]
    assert len(pairs) == 6
    np.testing.assert_allclose(loss, np.mean(pairs), rtol=2e-4)
    entropy = -(chosen * np.log(chosen)).sum(axis=-1).mean()
    np.testing.assert_allclose(metrics["teacher_entropy"].number(), entropy, rtol=1e-3)
    moved = objective.follow(carried, model, jnp.int32(0))
    mean = teacher.mean(axis=(0, 1))
    np.testing.assert_allclose(moved["center"], 0.9 * center + 0.1 * mean, atol=1e-5)
    assert not np.asarray(moved["outputs"]).any()
    assert moved["step"] == 1


@pytest.mark.slow
def test_dino_begins_with_a_low_temperature_and_prototypes_that_stay(key):
    objective = dataclasses.replace(OBJECTIVES["dino"], first_temperature=0.02, warmup=10, frozen=3)
    temperatures = [float(objective.temperature_at(step)) for step in (0, 5, 10, 99)]
    assert temperatures == pytest.approx([0.02, 0.03, 0.04, 0.04])
    assert float(OBJECTIVES["dino"].temperature_at(0)) == pytest.approx(0.04)
    model, examples = objective.init(key, SPEC), objective.corrupt(batch_of(), key)
    state = objective.init_state(objective.init(jax.random.key(8), SPEC))

    @jax.jit
    def gradients(model, parts, step):
        def loss(model, parts):
            return objective.loss(model, {**state, **parts, "step": step}, examples, key)[0]

        return jax.grad(loss, argnums=(0, 1))(model, parts)

    parts = {name: state[name] for name in ("teacher", "center")}
    for step, moves in ((2, False), (3, True)):
        of_model, of_parts = gradients(model, parts, jnp.int32(step))
        assert bool(np.asarray(of_model.prototypes[...]).any()) == moves
        assert np.asarray(of_model.projector.layers[0].kernel[...]).any()
        assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(of_parts))


@pytest.mark.slow
def test_one_batch_is_learned_by_heart():
    """What is left is mostly the entropy of the teacher's softmax at this temperature."""
    objective = dataclasses.replace(OBJECTIVES["dino"], teacher_temperature=0.0025)
    check_learned(objective, tiny_image_spec(batch=8), 80, 0.8, 0.15)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"teacher_temperature": 0.0}, "teacher_temperature=0.0 must be above 0"),
        ({"first_temperature": -1.0}, "first_temperature=-1.0 must be above 0"),
        ({"frozen": -1}, "frozen=-1 must be at least 0"),
        ({"prototypes": 1}, "prototypes=1 must be at least 2"),
        ({"center_momentum": 1.0}, "center_momentum=1.0 must be at least 0 and below 1"),
        ({"crops": MultiCrop(large_count=1, small_count=0)}, "set crops.large_count to 2"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(OBJECTIVES["dino"], **changes)
