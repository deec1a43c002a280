"""The step: accumulation and devices give the same gradient, however unevenly rows are filled."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.models.recipes import bert, gpt2
from jaxssl.objectives import CausalLM, Electra, MaskedLM, NextSentence, Objective
from jaxssl.objectives.batches.batch import Ratio, Text, Vocabulary
from jaxssl.optimizers import Adafactor, AdamW, Lamb, Lars, Lion, Muon, Sgd
from jaxssl.sharding.layout import path_of
from jaxssl.sharding.mesh import Mesh, batch_sharding
from jaxssl.training.gradients import accumulate
from jaxssl.training.step import (
    abstract_batch,
    abstract_state,
    create_state,
    make_evaluation,
    make_step,
    state_maker,
)
from tests.tiny import PAD, tiny_rows, tiny_spec
from tests.training.test_meshes import OBJECTIVES as EVERY
from tests.training.test_meshes import spec_of

SPEC = tiny_spec(batch=16)
SHAPE = {"depth": 2, "width": 32, "heads": 2, "max_length": 32, "dropout": 0.0}
OBJECTIVES = {
    "masked": MaskedLM(encoder=bert(**SHAPE)),
    "pairs": MaskedLM(encoder=bert(**SHAPE), second_task=NextSentence()),
    "causal": CausalLM(decoder=gpt2(**SHAPE)),
    "electra": Electra(discriminator=bert(**{**SHAPE, "depth": 1})),
}


def gradient(objective, microbatches, devices, loss=None):
    rows = jnp.asarray(tiny_rows(3, batch=16, sparse=True))
    vocabulary = Vocabulary.of(SPEC)
    model = objective.init(jax.random.key(1), SPEC)

    @jax.jit
    def compute(model, tokens):
        examples = objective.corrupt(Text(tokens, vocabulary), jax.random.key(2))
        chosen = loss or objective.loss
        return accumulate(chosen, model, (), examples, jax.random.key(3), microbatches)

    mesh = Mesh().make(jax.devices()[:devices])
    tokens = jax.device_put(rows, batch_sharding(mesh))
    model = jax.device_put(model, NamedSharding(mesh, PartitionSpec()))
    gradients, _, metrics = compute(model, tokens)
    return jax.device_get(gradients), jax.device_get(metrics)


def relative_difference(first, second):
    difference = jax.tree.map(lambda a, b: a - b, first, second)
    return float(optax.tree.norm(difference) / optax.global_norm(first))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) for n in ("causal", "masked", "pairs", "electra")],
)
def test_microbatches_and_devices_do_not_change_the_gradient(name):
    """Relative to the norm: 1e-5 in float32."""
    objective = OBJECTIVES[name]
    exact, metrics = gradient(objective, 1, 1)
    assert float(optax.tree.norm(exact)) > 1e-2
    for microbatches, devices in ((2, 1), (4, 1), (8, 1), (1, 2), (1, 8), (2, 8), (4, 2)):
        again, more = gradient(objective, microbatches, devices)
        assert relative_difference(exact, again) < 1e-5, (microbatches, devices)
        for metric in metrics:
            np.testing.assert_allclose(more[metric], metrics[metric], rtol=1e-5)


@pytest.mark.slow
def test_a_mean_of_means_is_found_out():
    """What other trainers do (each microbatch divides by its own count) must fail the test above."""
    objective = OBJECTIVES["masked"]

    def mean_of_means(model, state, examples, key):
        own = examples.weights / jnp.maximum(examples.weights.sum(), 1e-9) / 4
        return objective.loss(model, state, examples._replace(weights=own), key)

    exact, _ = gradient(objective, 1, 1)
    wrong, _ = gradient(objective, 4, 1, loss=mean_of_means)
    assert relative_difference(exact, wrong) > 1e-2


def test_the_step_is_compiled_with_its_options(monkeypatch):
    """XLA refuses an option that it does not know before it compiles anything."""
    monkeypatch.setattr(
        "jaxssl.training.step.options_for", lambda config, mesh: {"xla_of_nobody": "1"}
    )
    run = config(objective=CausalLM(decoder=gpt2(**{**SHAPE, "depth": 1, "width": 8})))
    mesh, optimizer = Mesh().make(jax.devices()[:1]), optax.sgd(0.1)
    state = abstract_state(run, optimizer, SPEC, mesh)
    lowered = make_step(run, optimizer, SPEC, mesh).lower(state, abstract_batch(SPEC, mesh))
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option: 'xla_of_nobody'"):
        lowered.compile()


@pytest.mark.slow
def test_sums_of_bfloat16_gradients_over_devices():
    """Relative to the norm: 1e-2 for one rounding to 8 bits on each of eight devices, and in float32 1e-5."""
    half = MaskedLM(encoder=bert(**SHAPE, compute_dtype="bfloat16"))
    on_one, on_eight = gradient(half, 1, 1)[0], gradient(half, 1, 8)[0]
    rounding = relative_difference(on_one, on_eight)
    assert 1e-5 < rounding < 1e-2


def config(**changes):
    fields = {"objective": OBJECTIVES["masked"], "steps": 150, "seed": 0, "average": None}
    fields |= {"microbatches": 1, "compiler_options": None, "gradient_sums": "computed"}
    return SimpleNamespace(**{**fields, **changes})


@pytest.mark.slow
def test_overfits_one_batch():
    mesh = Mesh().make(jax.devices()[:1])
    optimizer = optax.adam(3e-3)
    objective = dataclasses.replace(OBJECTIVES["causal"])
    run = config(objective=objective, average=0.9)
    state = create_state(run, optimizer, SPEC, mesh)
    step = make_step(run, optimizer, SPEC, mesh)
    rows = jnp.asarray(tiny_rows(batch=16))
    for _ in range(150):
        state, metrics = step(state, {"tokens": rows})
    assert metrics["loss"].number() < 0.7
    assert int(state.step) == 150
    moved = relative_difference(state.model, state.average)
    assert 0 < moved < 0.1


@pytest.mark.slow
def test_rows_of_padding_alone_give_no_gradient_and_no_nan():
    empty = jnp.full((16, 32), PAD, jnp.int32)
    for objective in OBJECTIVES.values():
        model = objective.init(jax.random.key(1), SPEC)
        examples = objective.corrupt(Text(empty, Vocabulary.of(SPEC)), jax.random.key(2))
        gradients, _, _ = accumulate(objective.loss, model, (), examples, jax.random.key(3), 2)
        assert float(optax.tree.norm(gradients)) == 0.0


@dataclasses.dataclass(frozen=True)
class Noise(Objective):
    """A loss whose parts show what the step hands to an objective: w times a random number of the step."""

    def init(self, key, spec):
        return {"w": jnp.ones(())}

    def init_state(self, model):
        return {"seen": jnp.zeros(()), "step": jnp.zeros((), jnp.int32)}

    def follow(self, state, model, step):
        return {"seen": model["w"], "step": step}

    def corrupt(self, batch, key):
        return jnp.broadcast_to(jax.random.uniform(key), len(batch.tokens))

    def loss(self, model, state, examples, key):
        dropped = jnp.zeros(()) if key is None else 1 + jax.random.uniform(key)
        loss = model["w"] * examples.mean()
        one = jnp.ones(())
        metrics = {"loss": loss, "drawn": examples.mean(), "dropped": dropped, "w": model["w"]}
        return loss, (state, {name: Ratio(value, one) for name, value in metrics.items()})


def noise_run(seed=0, **changes):
    """(the step, the evaluation, a new state, a batch) of `Noise` on one device."""
    mesh, optimizer = Mesh().make(jax.devices()[:1]), optax.sgd(0.5)
    run = config(objective=Noise(), seed=seed, **changes)
    state = create_state(run, optimizer, SPEC, mesh)
    evaluate = make_evaluation(run.objective, SPEC, mesh, seed=seed)
    batch = {"tokens": jnp.asarray(tiny_rows(batch=16))}
    return make_step(run, optimizer, SPEC, mesh), evaluate, state, batch


def numbers(metrics):
    return {name: metric.number() for name, metric in jax.device_get(metrics).items()}


def test_every_step_draws_anew_and_the_same_in_every_run():
    step, _, state, batch = noise_run()
    state, first = step(state, batch)
    state, second = step(state, batch)
    first, second = numbers(first), numbers(second)
    assert first["drawn"] != second["drawn"]
    assert first["dropped"] != second["dropped"]
    assert first["gradient_norm"] == pytest.approx(first["drawn"])
    again, _, state, batch = noise_run()
    assert numbers(again(state, batch)[1]) == first
    other, _, state, batch = noise_run(seed=1)
    assert numbers(other(state, batch)[1])["drawn"] != first["drawn"]


def test_the_average_and_the_objectives_state_follow_the_new_parameters():
    """w = 1 - 0.5 g after a step; the average is 0.1 + 0.9 w; `follow` sees w and the step."""
    step, _, state, batch = noise_run(average=0.15)
    state, metrics = step(state, batch)
    w = 1 - 0.5 * numbers(metrics)["drawn"]
    assert float(state.model["w"]) == pytest.approx(w)
    assert float(state.average["w"]) == pytest.approx(0.1 + 0.9 * w)
    assert float(state.evaluated["w"]) == pytest.approx(0.1 + 0.9 * w)
    assert float(state.carried["seen"]) == pytest.approx(w)
    assert (int(state.carried["step"]), int(state.step)) == (0, 1)
    average = float(state.average["w"])
    state, _ = step(state, batch)  # 2 / 11 of the average would stay, above its decay of 0.15
    assert float(state.average["w"]) == pytest.approx(
        0.15 * average + 0.85 * float(state.model["w"])
    )


def test_an_average_does_not_keep_the_first_parameters():
    """Of 300 steps at a decay of 0.999, the random parameters had a weight of 0.74."""
    step, _, state, batch = noise_run(average=0.999)
    for _ in range(300):
        state, _ = step(state, batch)
    late = float(state.model["w"]) - float(state.average["w"])
    assert 0 < -late < 0.15 * (1 - float(state.model["w"]))


def test_evaluation_drops_nothing_and_corrupts_a_batch_as_before():
    _, evaluate, state, batch = noise_run()
    first, again, next_one = (
        numbers(evaluate(state.model, state.carried, batch, jnp.int32(number)))
        for number in (0, 0, 1)
    )
    assert first == again
    assert first["dropped"] == 0.0
    assert first["drawn"] != next_one["drawn"]


@pytest.mark.parametrize("name", sorted(EVERY))
def test_no_array_of_a_new_state_is_weakly_typed(name):
    """After a step none is, so that the step would be compiled twice; those of `init` itself, too."""
    objective, spec = EVERY[name], spec_of(EVERY[name])
    key = jax.random.key(0)
    make = state_maker(config(objective=objective, average=0.9), AdamW().make(100), spec)
    made = (jax.eval_shape(make, key, {}), jax.eval_shape(lambda k: objective.init(k, spec), key))
    for keys, leaf in jax.tree_util.tree_leaves_with_path(made):
        assert not leaf.weak_type, path_of(keys)


@pytest.mark.parametrize("optimizer", [Lamb(), Lars(), Sgd(), Lion(), Adafactor(), Muon()])
def test_no_array_of_an_optimizers_state_is_weakly_typed(optimizer):
    make = state_maker(config(), optimizer.make(100), SPEC)
    for leaf in jax.tree.leaves(jax.eval_shape(make, jax.random.key(0), {})):
        assert not leaf.weak_type


def test_arrays_that_a_users_objective_types_weakly_are_typed_in_the_state():
    class Weak(Noise):
        def init(self, key, spec):
            return {"w": jnp.full((), 1.0)}

        def init_state(self, model):
            return {"seen": jnp.full((), 2.0), "step": jnp.zeros((), jnp.int32)}

    mesh, optimizer = Mesh().make(jax.devices()[:1]), optax.sgd(0.5)
    run = config(objective=Weak())
    state = create_state(run, optimizer, SPEC, mesh)
    step = make_step(run, optimizer, SPEC, mesh)
    for _ in range(2):
        state, _ = step(state, {"tokens": jnp.asarray(tiny_rows(batch=16))})
    assert step._cache_size() == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_step_makes_a_state_of_the_same_types(name):
    mesh, optimizer, objective = Mesh().make(jax.devices()[:1]), AdamW().make(100), EVERY[name]
    run, spec = config(objective=objective, average=0.9), spec_of(objective)
    state = abstract_state(run, optimizer, spec, mesh)
    step = make_step(run, optimizer, spec, mesh)
    after, _ = step.eval_shape(state, abstract_batch(spec, mesh))

    def types(tree):
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {path_of(k): (leaf.shape, leaf.dtype, leaf.weak_type) for k, leaf in leaves}

    assert types(after) == types(state)
