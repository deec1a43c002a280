"""ELECTRA against the formula written out; what is drawn, by whom it is learned, and how it is measured."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.errors import InputError
from jaxssl.models.pretraining.replaced_tokens import TABLES, generator_of
from jaxssl.models.recipes import bert, gpt2, modern
from jaxssl.objectives import Electra
from jaxssl.objectives.batches.batch import Text, Vocabulary
from jaxssl.sharding.layout import path_of
from jaxssl.training.metrics import averages
from tests.tiny import FIRST, MASK, PAD, tiny_rows, tiny_spec

SPEC = tiny_spec()
VOCABULARY = Vocabulary.of(SPEC)
ELECTRA = Electra(
    discriminator=bert(
        1, 32, 4, embedding_width=16, max_length=32, dropout=0.0, initializer_range=0.2
    ),
    generator_size=0.5,
    rate=0.3,
)


@partial(jax.jit, static_argnums=0)
def example(objective, seed=0):
    """A model and examples of rows that are filled unevenly."""
    tokens = jnp.asarray(tiny_rows(1, sparse=True))
    examples = objective.corrupt(Text(tokens, VOCABULARY), jax.random.key(seed + 5))
    return objective.init(jax.random.key(seed), SPEC), examples


@partial(jax.jit, static_argnums=0)
def gradient(objective, model, examples):
    loss = jax.value_and_grad(objective.loss, has_aux=True)
    (value, (_, metrics)), gradients = loss(model, (), examples, None)
    return value, metrics, gradients


@pytest.fixture(scope="module")
def learned():
    """The model, the examples, and gradients of the whole loss and of the generator's part of it."""
    model, examples = example(ELECTRA)
    alone = dataclasses.replace(ELECTRA, discriminator_weight=0.0)
    return model, examples, gradient(ELECTRA, model, examples), gradient(alone, model, examples)


@jax.jit
def generated(model, examples):
    """Logits of all hidden places at once, and what JAX's own sampler draws from them."""
    generator = model.whole_generator()
    states = generator.encoder(examples.inputs, examples.segments)
    hidden = jnp.take_along_axis(states, examples.positions[:, :, None], axis=1)
    logits = generator.token_head(hidden) @ model.discriminator.tokens.embedding[...].T
    logits += generator.output_bias[...][None, None]
    draw = jax.vmap(jax.vmap(jax.random.categorical))
    return logits, draw(jax.random.wrap_key_data(examples.words), logits)


@jax.jit
def discriminated(model, inputs, examples):
    return model.replaced_head(model.discriminator(inputs, examples.segments))


@pytest.mark.slow
def test_the_loss_is_that_of_the_logits(learned):
    model, examples, (loss, metrics, _), _ = learned
    tokens, positions = np.asarray(examples.tokens), np.asarray(examples.positions)
    logits, drawn = map(np.asarray, generated(model, examples))
    inputs, nats, right = tokens.copy(), [], 0
    for row, place in np.argwhere(np.asarray(examples.weights) > 0):
        scores, target = logits[row, place], tokens[row, positions[row, place]]
        nats.append(np.log(np.exp(scores).sum()) - scores[target])
        right += scores.argmax() == target
        inputs[row, positions[row, place]] = drawn[row, place]
    found = np.asarray(discriminated(model, jnp.asarray(inputs), examples), np.float64)
    replaced, real = inputs != tokens, tokens != PAD
    crossed = np.logaddexp(0, found) - replaced * found
    np.testing.assert_allclose(loss, np.mean(nats) + 50 * crossed[real].mean(), rtol=1e-4)
    shown = averages([jax.device_get(metrics)])
    assert shown["generator_accuracy"] == pytest.approx(right / len(nats))
    assert shown["discriminator_loss"] == pytest.approx(crossed[real].mean(), rel=1e-4)
    assert shown["replaced"] == pytest.approx(replaced.sum() / real.sum())
    called = (found > 0) & real
    assert shown["precision"] == pytest.approx(replaced[called].mean())
    assert shown["recall"] == pytest.approx(called[replaced].mean())
    pairs = found[replaced][:, None] - found[real & ~replaced][None]
    assert shown["auc"] == pytest.approx((np.sign(pairs) / 2 + 0.5).mean(), abs=0.01)


@pytest.mark.slow
def test_the_discriminator_teaches_the_generator_by_the_embeddings_alone(learned):
    """No gradient by what is the generator's own; by the tables that of both parts."""
    model, examples, (_, _, both), (_, _, first) = learned

    _, drawn = generated(model, examples)
    hidden = np.asarray(examples.weights) > 0
    originals = np.take_along_axis(np.asarray(examples.tokens), np.asarray(examples.positions), 1)
    inputs = np.array(examples.tokens)
    drawn = np.where(hidden, drawn, originals)
    np.put_along_axis(inputs, np.asarray(examples.positions), drawn, axis=1)

    def detection(model):
        logits = discriminated(model, jnp.asarray(inputs), examples)
        crossed = jax.nn.softplus(logits) - (inputs != examples.tokens) * logits
        return 50 * (crossed * examples.real_weights).sum()

    second = jax.jit(jax.grad(detection))(model)
    for keys, leaf in jax.tree_util.tree_leaves_with_path(second.generator):
        assert not np.asarray(leaf).any(), path_of(keys)
    # Whether the discriminator's part weighs 50 or 0: bit by bit the same for the generator's own.
    jax.tree.map(np.testing.assert_array_equal, both.generator, first.generator)
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(both.generator))
    for name in TABLES:
        for part in (first, second):
            leaves = jax.tree.leaves(getattr(part.discriminator, name))
            assert all(np.asarray(leaf).any() for leaf in leaves), name
    summed = jax.tree.map(np.add, first.discriminator, second.discriminator)
    close = partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5)
    jax.tree.map(close, both.discriminator, summed)
    own = first.discriminator.layers, first.discriminator.widen, first.transform, first.classifier
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(own))


def test_what_is_hidden_and_what_is_drawn():
    """Hidden 30 %, 85 % of them masked and none random; only hidden tokens are ever replaced."""
    tokens = np.tile(tiny_rows(2), (64, 1))
    corrupt = jax.jit(ELECTRA.corrupt)
    examples = corrupt(Text(jnp.asarray(tokens), VOCABULARY), jax.random.key(3))
    hidden = np.zeros(tokens.shape, bool)
    np.put_along_axis(
        hidden, np.asarray(examples.positions), np.asarray(examples.weights > 0), axis=1
    )
    assert not hidden[tokens < FIRST].any()
    assert hidden[tokens >= FIRST].mean() == pytest.approx(0.3, abs=0.02)
    assert set(np.unique(np.asarray(examples.inputs)[~(examples.inputs == tokens)])) == {MASK}
    share = (np.asarray(examples.inputs) == MASK)[hidden].mean()
    assert share == pytest.approx(0.85, abs=4 * np.sqrt(0.85 * 0.15 / hidden.sum()))
    np.testing.assert_allclose(examples.real_weights.sum(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(examples.weights.sum(), 1.0, rtol=1e-5)
    words = np.reshape(examples.words, (-1, 2))
    assert len(np.unique(words, axis=0)) == len(words)  # no two places share a key


@pytest.mark.slow
@pytest.mark.parametrize("disallow", [False, True])
def test_the_generator_may_be_right_unless_it_must_not(disallow, learned):
    model, examples, *_ = learned
    objective = dataclasses.replace(ELECTRA, disallow_correct=disallow, temperature=0.5)

    @jax.jit
    @jax.vmap
    def draw(words):
        return objective.generate(model, examples._replace(words=words), None)[2]

    drawn = draw(jax.random.bits(jax.random.key(1), (64, *examples.words.shape), jnp.uint32))
    originals = np.take_along_axis(np.asarray(examples.tokens), examples.positions, axis=1)
    hidden = np.asarray(examples.weights > 0)
    same = np.asarray(drawn) == originals
    assert same[:, ~hidden].all()
    assert same[:, hidden].any() != disallow


@pytest.mark.slow
def test_overfits_one_batch():
    """One masking, the draws anew at every step: the generator recalls, the discriminator is sure."""
    model, examples = example(ELECTRA)
    optimizer = optax.adam(3e-3)
    moments = jax.jit(optimizer.init)(model)

    @jax.jit
    def step(model, moments, key):
        anew = examples._replace(words=jax.random.bits(key, examples.words.shape, jnp.uint32))
        loss = jax.grad(ELECTRA.loss, has_aux=True)
        gradients, (_, metrics) = loss(model, (), anew, key)
        updates, moments = optimizer.update(gradients, moments)
        return optax.apply_updates(model, updates), moments, metrics

    shown = []
    for number in range(300):
        model, moments, metrics = step(model, moments, jax.random.key(number))
        shown.append(jax.device_get(metrics))
    early, late = averages(shown[:50]), averages(shown[-50:])
    assert late["generator_accuracy"] > 0.98
    assert late["replaced"] < early["replaced"] / 4
    assert late["auc"] > 0.97 > early["auc"]
    assert late["discriminator_loss"] < 0.1 < early["discriminator_loss"]


def test_the_generator_is_the_discriminator_with_fewer_heads():
    base = generator_of(bert(), 1 / 3)
    assert (base.width, base.heads, base.inner, base.embedding_width) == (256, 4, 1024, 768)
    small = generator_of(bert(12, 256, 4, embedding_width=128), 1 / 4)
    assert (small.width, small.heads, small.inner, small.embedding_width) == (64, 1, 256, 128)
    grouped = generator_of(modern(2, 64, 8, kv_heads=4), 3 / 8)
    assert (grouped.heads, grouped.kv_heads, grouped.width) == (3, 1, 24)
    assert generator_of(bert(2, 32, 2), 0.01).heads == 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"discriminator": gpt2(2, 32, 2)}, "both sides"),
        ({"generator_size": 0.0}, "generator_size=0.0 must be above 0"),
        ({"rate": 1.5}, "rate=1.5 must be above 0"),
        ({"shares": (0.5, 0.1, 0.1)}, "add up to 1"),
        ({"masking": "letters"}, "use tokens, words or spans"),
        ({"temperature": 0.0}, "temperature=0.0 must be above 0"),
        ({"discriminator_weight": -1.0}, "must be at least 0"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(ELECTRA, **changes)


def test_what_cannot_be_built():
    with pytest.raises(InputError, match="rows of 64 tokens exceed max_length 32"):
        ELECTRA.init(jax.random.key(0), tiny_spec(length=64))


@pytest.mark.slow
def test_rows_of_padding_alone_give_no_gradient_and_no_nan(learned):
    model, examples, *_ = learned
    empty = jax.tree.map(np.zeros_like, examples)
    assert PAD == 0
    assert not examples.weights[0, -1]  # as `corrupt` leaves a row that hides less
    loss, metrics, gradients = gradient(ELECTRA, model, empty)
    assert float(loss) == 0.0
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradients))
    assert all(np.isnan(value) for value in averages([jax.device_get(metrics)]).values())
