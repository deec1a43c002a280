"""SimCSE against the formula written out, its metrics, and accumulation in two passes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.errors import InputError
from jaxssl.models.recipes import bert, gpt2
from jaxssl.objectives import SimCSE
from jaxssl.objectives.batches.batch import Text, Vocabulary
from jaxssl.objectives.simcse import Embeddings
from jaxssl.sharding.mesh import Mesh, batch_sharding
from jaxssl.training.gradients import gradients_of
from tests.objectives.learned_by_heart import check_learned
from tests.tiny import FIRST, PAD, tiny_rows, tiny_spec

SPEC = tiny_spec(batch=16)
VOCABULARY = Vocabulary.of(SPEC)
KEY = jax.random.key(3)
SHAPE = {"depth": 1, "width": 32, "heads": 2, "max_length": 32}
NOISY = SimCSE(encoder=bert(**SHAPE, dropout=0.1), pooling="mean", texts=3)
ALL = dataclasses.replace(NOISY, pooling="projector", masked_lm_weight=0.1)
STILL = bert(**SHAPE, dropout=0.0, initializer_range=0.1)  # texts that differ from the start


class Still(SimCSE):
    """Without dropout, which the real one refuses: what is then left is exactly additive."""

    def __post_init__(self):
        pass


def examples_of(objective, sparse=True):
    tokens = jnp.asarray(tiny_rows(3, batch=16, sparse=sparse))
    return objective.corrupt(Text(tokens, VOCABULARY), jax.random.key(2))


def test_is_the_formula_over_all_texts(key):
    model = NOISY.init(key, SPEC)
    examples = examples_of(NOISY)
    embeddings = jax.jit(NOISY.embed)(model, (), examples, key)
    loss, (_, metrics) = jax.jit(NOISY.contrast)(model, (), embeddings, examples)
    texts = []
    for row in range(16):
        pieces = int(examples.segments[row].max())
        texts += [(row, piece) for piece in range(min(pieces, 3))]
    assert len(texts) == int(examples.total[0]) == int((examples.weights > 0).sum())
    np.testing.assert_allclose(examples.weights.sum(), 1.0, rtol=1e-6)
    assert metrics["embedded"].total == len(texts)
    assert metrics["embedded"].weight == sum(int(row.max()) for row in examples.segments)

    def unit(z):
        chosen = np.array([z[row, piece] for row, piece in texts], np.float64)
        return chosen / np.linalg.norm(chosen, axis=1, keepdims=True)

    first, second = unit(embeddings.first), unit(embeddings.second)
    scaled = first @ second.T / 0.05
    logs = np.log(np.exp(scaled - scaled.max()).sum(axis=1)) + scaled.max()
    np.testing.assert_allclose(loss, (logs - np.diag(scaled)).mean(), rtol=1e-4)
    apart = np.square(first - second).sum(axis=1).mean()
    ratio = metrics["alignment"]
    np.testing.assert_allclose(ratio.total / ratio.weight, apart, rtol=1e-4)
    squares = np.square(first[:, None] - first[None]).sum(axis=-1)
    others = ~np.eye(len(texts), dtype=bool)
    spread = np.log(np.exp(-2 * squares[others]).mean())
    np.testing.assert_allclose(metrics["uniformity"].total, spread, rtol=1e-4)


def test_the_share_of_embedded_documents_is_told():
    objective = dataclasses.replace(NOISY, texts=1)
    examples = examples_of(objective)
    z = jax.random.normal(KEY, (16, 1, 8))
    _, (_, metrics) = objective.contrast(None, (), Embeddings(z, z, None), examples)
    documents = sum(int(row.max()) for row in examples.segments)
    assert metrics["embedded"].number() == pytest.approx(examples.total[0] / documents)
    assert metrics["embedded"].number() < 0.9


def test_a_text_does_not_know_its_neighbours(key):
    """The embedding of a row's first piece is that of the piece alone; dropout tells the two apart."""
    model = NOISY.init(key, SPEC)
    examples = examples_of(NOISY, sparse=False)
    alone = examples._replace(tokens=jnp.where(examples.segments == 1, examples.tokens, PAD))
    alone = alone._replace(segments=jnp.where(examples.segments == 1, 1, 0))
    embed = jax.jit(NOISY.embed)
    both = [embed(model, (), e, key) for e in (examples, alone)]
    np.testing.assert_allclose(both[0].first[:, 0], both[1].first[:, 0], rtol=1e-4, atol=1e-5)
    assert float(jnp.abs(both[0].first - both[0].second).max()) > 1e-3


def test_the_second_view_lacks_tokens(key):
    """A share of every row's words, and nothing else; its embedding is that of the words that are left."""
    still = Still(STILL, pooling="mean", texts=3, deletion=0.3)
    examples = examples_of(still)
    model = still.init(key, SPEC)
    for row, shorter in zip(
        *(np.asarray(x) for x in (examples.tokens, examples.second[0])), strict=True
    ):
        words = [int(x) for x in row if x >= FIRST]
        left = [int(x) for x in shorter if x >= FIRST]
        assert len(left) == len(words) - int(0.3 * len(words) + 0.5)
        rest = iter(words)
        assert all(word in rest for word in left)  # in order
        assert [x for x in row if PAD != x < FIRST] == [x for x in shorter if PAD != x < FIRST]
    embeddings = jax.jit(still.embed)(model, (), examples, None)
    alone = examples._replace(tokens=examples.second[0], segments=examples.second[1], second=None)
    np.testing.assert_allclose(
        embeddings.second, jax.jit(still.embed)(model, (), alone, None).first, rtol=1e-4, atol=1e-5
    )
    with pytest.raises(InputError, match=r"deletion=1.0 must be at least 0 and below 1"):
        dataclasses.replace(NOISY, deletion=1.0)


def gradient(objective, microbatches, devices):
    model = objective.init(jax.random.key(1), SPEC)

    @jax.jit
    def compute(model, tokens):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            examples = objective.corrupt(Text(tokens, VOCABULARY), jax.random.key(2))
            return gradients_of(objective, model, (), examples, KEY, microbatches)

    mesh = Mesh().make(jax.devices()[:devices])
    tokens = jax.device_put(tiny_rows(3, batch=16, sparse=True), batch_sharding(mesh))
    model = jax.device_put(model, NamedSharding(mesh, PartitionSpec()))
    gradients, _, metrics = compute(model, tokens)
    return jax.device_get(gradients), jax.device_get(metrics)


def relative_difference(first, second):
    difference = jax.tree.map(lambda a, b: a - b, first, second)
    return float(optax.tree.norm(difference) / optax.tree.norm(first))


@pytest.mark.slow
def test_microbatches_keep_all_negatives():
    """k microbatches of m are one batch of k m, on 1 and 8 devices: relative to the norm 1e-5."""
    still = Still(STILL, pooling="projector", texts=3, masked_lm_weight=0.1)
    exact, metrics = gradient(still, 1, 1)
    assert float(optax.tree.norm(exact)) > 1e-2
    blocks = dataclasses.replace(still, block_size=6)
    for objective, microbatches, devices in ((still, 4, 1), (blocks, 2, 8)):
        again, more = gradient(objective, microbatches, devices)
        assert relative_difference(exact, again) < 1e-5, (microbatches, devices)
        for name in metrics:
            np.testing.assert_allclose(more[name], metrics[name], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_dropout_is_replayed():
    """Two passes with dropout are one batch whose parts were embedded with the same keys."""
    count = 4
    examples = examples_of(ALL)
    model = ALL.init(jax.random.key(1), SPEC)
    cached, _ = gradient(ALL, count, 1)

    @jax.jit
    @jax.grad
    def whole(model):
        parts = []
        for number in range(count):
            part = jax.tree.map(lambda array, start=number: array[start::count], examples)
            parts.append(ALL.embed(model, (), part, jax.random.fold_in(KEY, number)))
        together = jax.tree.map(
            lambda *a: jnp.stack(a, axis=1).reshape(16, *a[0].shape[1:]), *parts
        )
        return ALL.contrast(model, (), together, examples)[0]

    assert relative_difference(whole(model), cached) < 1e-5
    # Rows that are recognised by chance of their microbatch alone would give another gradient.
    assert relative_difference(cached, gradient(ALL, 1, 1)[0]) > 0.05


@pytest.mark.slow
def test_padding_alone_gives_no_gradient(key):
    empty = jnp.full((16, 32), PAD, jnp.int32)
    examples = ALL.corrupt(Text(empty, VOCABULARY), key)
    gradients, _, metrics = jax.jit(gradients_of, static_argnums=(0, 5))(
        ALL, ALL.init(key, SPEC), (), examples, key, 2
    )
    assert float(optax.tree.norm(gradients)) == 0.0
    assert all(np.isfinite(ratio.total).all() for ratio in metrics.values())


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"pooling": "max"}, "use mean, cls or projector"),
        ({"temperature": 0.0}, "temperature=0.0 must be above 0"),
        ({"texts": 0}, "texts=0"),
        ({"masked_lm_weight": -1.0}, "masked_lm_weight=-1.0"),
        ({"encoder": gpt2(**SHAPE)}, "both sides"),
        ({"encoder": STILL}, "two embeddings of a text are the same"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(NOISY, **changes)
    with pytest.raises(InputError, match="rows of 64 tokens exceed max_length 32"):
        NOISY.init(jax.random.key(0), tiny_spec(length=64))


@pytest.mark.slow
def test_one_batch_is_learned_by_heart():
    objective = SimCSE(bert(**SHAPE, dropout=0.3), pooling="mean")
    check_learned(objective, tiny_spec(batch=8), 80, 1.5, 0.1)
