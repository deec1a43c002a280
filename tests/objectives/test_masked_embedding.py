"""MaskedEmbedding: targets and loss written out, the teacher's way, that it learns."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.errors import InputError
from jaxssl.models.recipes import bert, gpt2, modern
from jaxssl.objectives import MaskedEmbedding
from jaxssl.objectives.batches.batch import Text, Vocabulary
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.gradients import gradients_of
from jaxssl.training.step import create_state, make_step
from tests.tiny import FIRST, tiny_rows, tiny_spec

SPEC = tiny_spec(batch=16)
VOCABULARY = Vocabulary.of(SPEC)
SHAPE = {"depth": 2, "width": 32, "heads": 2, "max_length": 32, "dropout": 0.0}
TEACHER = MaskedEmbedding(
    encoder=bert(**SHAPE), last=1, momentum=0.5, momentum_end=0.9, momentum_steps=4, rate=0.3
)
FROZEN = dataclasses.replace(TEACHER, targets="frozen")


def standardized(x, epsilon=1e-6):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + epsilon)


@pytest.mark.slow
@pytest.mark.parametrize("objective", [TEACHER, FROZEN], ids=["teacher", "frozen"])
def test_is_the_mean_over_hidden_tokens(objective, key):
    model, other = objective.init(key, SPEC), objective.init(jax.random.key(8), SPEC)
    state = objective.init_state(other)
    rows = jnp.asarray(tiny_rows(1, batch=16, sparse=True))
    examples = jax.jit(objective.corrupt)(Text(rows, VOCABULARY), key)
    np.testing.assert_allclose(examples.weights.sum(), 1.0, rtol=1e-6)
    loss, (_, metrics) = jax.jit(objective.loss)(model, state, examples, None)
    states = model.encoder(examples.inputs, examples.segments)
    predicted = np.asarray(model.head(states))
    if objective.targets == "teacher":  # of the last layer
        output = feed_forwards(other.encoder, rows, examples.segments)[-1]
        targets = standardized(output, other.encoder.config.norm_epsilon)
    else:
        targets = standardized(np.asarray(other.encoder.tokens.embedding[...])[np.asarray(rows)])
    errors = [
        np.square(predicted[row, place] - targets[row, place]).mean()
        for row in range(16)
        for place, weight in zip(examples.positions[row], examples.weights[row], strict=True)
        if weight > 0
    ]
    np.testing.assert_allclose(loss, np.mean(errors), rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"].weight, len(errors), rtol=1e-6)
    assert 0.3 < float(metrics["spread"].total / metrics["spread"].weight) < 1.1


def feed_forwards(encoder, rows, segments):
    """The output of every layer's feed-forward part, layer by layer: before residual and norm."""
    x, per_layer, shared = encoder._inputs(rows, segments, None, None, None)
    outputs = []
    for number in range(encoder.config.depth):
        layer, own = jax.tree.map(lambda a, n=number: a[n], (encoder.layers, per_layer))
        if encoder.config.norm_first:
            skips = own.raw_input is not None and bool(own.raw_input)
            x = x + layer.attention(x if skips else layer.attention_norm(x), own, shared)
            outputs.append(layer.mlp(layer.mlp_norm(x)))
            x = x + outputs[-1]
        else:
            x = layer.attention_norm(x + layer.attention(x, own, shared))
            outputs.append(layer.mlp(x))
            x = layer.mlp_norm(x + outputs[-1])
    return [np.asarray(output) for output in outputs]


@pytest.mark.parametrize("recipe", [modern, bert])
def test_the_mean_of_the_last_feed_forwards(recipe):
    encoder = recipe(**{**SHAPE, "depth": 3}).make(jax.random.key(0), 50)
    rows = jnp.asarray(tiny_rows(1))
    segments = jnp.cumsum(rows == 2, axis=1) * (rows != 0)
    epsilon = encoder.config.norm_epsilon
    outputs = [standardized(x, epsilon) for x in feed_forwards(encoder, rows, segments)[1:]]
    found = encoder.mean_of_feed_forwards(rows, segments, 2)
    np.testing.assert_allclose(found, np.mean(outputs, axis=0), rtol=1e-4, atol=1e-4)


def test_a_target_is_not_the_token_itself():
    """Block outputs, of which targets were made, correlate with the token's own embedding by 0.99."""
    encoder = modern(**{**SHAPE, "depth": 3}).make(jax.random.key(0), 50)
    rows = jnp.asarray(tiny_rows(1))
    segments = jnp.ones_like(rows)
    embedded = standardized(np.asarray(encoder.tokens.embedding[...])[np.asarray(rows)])
    block = standardized(np.asarray(encoder.hidden_states(rows, segments)[-1]))
    target = standardized(np.asarray(encoder.mean_of_feed_forwards(rows, segments, 3)))
    assert (embedded * block).mean() > 0.9
    assert abs((embedded * target).mean()) < 0.3


@pytest.mark.slow
def test_the_teacher_follows_and_gets_no_gradient(key):
    model, other = TEACHER.init(key, SPEC), TEACHER.init(jax.random.key(8), SPEC)
    state = TEACHER.init_state(other)
    for step, momentum in ((0, 0.5), (2, 0.7), (9, 0.9)):
        moved = TEACHER.follow(state, model, jnp.int32(step))["encoder"]
        wanted = jax.tree.map(
            lambda old, new, m=momentum: m * old + (1 - m) * new, other.encoder, model.encoder
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), moved, wanted)
    examples = TEACHER.corrupt(Text(jnp.asarray(tiny_rows(1, batch=16)), VOCABULARY), key)
    gradient = jax.grad(lambda state: TEACHER.loss(model, state, examples, None)[0])(state)
    assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient))
    assert FROZEN.follow(state, model, jnp.int32(0)) is state


@pytest.mark.slow
def test_microbatches_do_not_change_the_gradient(key):
    model = TEACHER.init(key, SPEC)
    state = TEACHER.init_state(model)
    rows = jnp.asarray(tiny_rows(3, batch=16, sparse=True))
    examples = TEACHER.corrupt(Text(rows, VOCABULARY), key)
    compute = jax.jit(gradients_of, static_argnums=(0, 5))
    exact, again = (compute(TEACHER, model, state, examples, key, k)[0] for k in (1, 4))
    difference = optax.tree.norm(jax.tree.map(jnp.subtract, exact, again))
    assert float(difference / optax.tree.norm(exact)) < 1e-5


@pytest.mark.slow
def test_overfits_one_batch_and_carries_its_targets():
    """Rows of one word each, so that hiding other places at every step changes nothing."""
    objective = dataclasses.replace(FROZEN, rate=0.15)
    run = SimpleNamespace(objective=objective, steps=100, seed=0, average=None, microbatches=1)
    run.compiler_options, run.gradient_sums = None, "computed"
    mesh, optimizer = Mesh().make(jax.devices()[:1]), optax.adam(3e-3)
    state = create_state(run, optimizer, SPEC, mesh)
    first = np.asarray(state.carried["encoder"]["tokens"]["embedding"])
    np.testing.assert_array_equal(first, state.model.encoder.tokens.embedding[...])
    step = make_step(run, optimizer, SPEC, mesh)
    rows = tiny_rows(batch=16)
    rows = jnp.asarray(np.where(rows >= FIRST, FIRST + np.arange(16)[:, None], rows))
    for _ in range(100):
        state, metrics = step(state, {"tokens": rows})
    assert float(metrics["cosine"].total / metrics["cosine"].weight) > 0.9
    assert float(metrics["loss"].total / metrics["loss"].weight) < 0.2
    np.testing.assert_array_equal(first, state.carried["encoder"]["tokens"]["embedding"])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"targets": "student"}, "use teacher or frozen"),
        ({"last": 0}, "last=0 must be at least 1"),
        ({"momentum": 1.5}, "momentum=1.5 must be at least 0 and at most 1"),
        ({"rate": 0.0}, "rate=0.0 must be above 0"),
        ({"shares": (0.5, 0.1, 0.1)}, "add up to 1"),
        ({"masking": "letters"}, "use tokens, words or spans"),
        ({"encoder": gpt2(**SHAPE)}, "both sides"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(TEACHER, **changes)
    with pytest.raises(InputError, match="rows of 64 tokens exceed max_length 32"):
        TEACHER.init(jax.random.key(0), tiny_spec(length=64))


def test_the_momentum_follows_the_run_where_it_is_not_set():
    following = dataclasses.replace(TEACHER, momentum_steps=None)
    assert following.for_run(7) == dataclasses.replace(TEACHER, momentum_steps=7)
    assert TEACHER.for_run(7) is TEACHER
    still = dataclasses.replace(TEACHER, momentum_end=1.0)
    with pytest.raises(InputError, match="momentum_steps=4 is below steps=7"):
        still.for_run(7)
