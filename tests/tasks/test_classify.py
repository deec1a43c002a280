"""Classification: it learns, padding does not matter, weights add up, parameters come over."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.data.labelled.example_batches import Encoded, ExampleBatches, LabelledSpec
from jaxssl.errors import InputError
from jaxssl.models.recipes import bert, gpt2, modern
from jaxssl.objectives import CausalLM, Electra, MaskedLM, NextSentence
from jaxssl.sharding.layout import axes_of, path_of
from jaxssl.tasks.classify import Classify, network_and_pooler
from tests.tiny import FIRST, tiny_spec

SHAPE = {"depth": 1, "width": 32, "heads": 2, "max_length": 32, "dropout": 0.0}
SPEC = LabelledSpec(16, (12, 24), classes=2, vocab_size=50, pad=0, begin=2, end=3)
NETWORKS = {"bert": bert(**SHAPE), "gpt2": gpt2(**SHAPE), "modern": modern(**SHAPE)}
TASKS = {
    "cls": ("bert", Classify(dropout=0.0)),
    "mean": ("modern", Classify(pooling="mean", dropout=0.0)),
    "last": ("gpt2", Classify(pooling="last", pooler=False, dropout=0.0)),
}


def texts(seed, count=256, pairs=False):
    """Label 1 where token FIRST occurs; of pairs: where it occurs in the second text."""
    random = np.random.default_rng(seed)
    first, second = (
        [random.integers(FIRST + 2, 50, random.integers(3, 9)) for _ in range(count)]
        for _ in range(2)
    )
    labels = random.integers(0, 2, count).astype(np.int32)
    for one, two, label in zip(first, second, labels, strict=True):
        found, other = (two, one) if pairs and label else (one, two)
        found[random.integers(len(found))] = FIRST if pairs or label else FIRST + 1
        other[random.integers(len(other))] = FIRST + 1
    return Encoded(first, second if pairs else None, labels)


def train(task, network, examples, steps=150):
    batches = ExampleBatches(examples, SPEC, shuffle=True)
    model = task.init(jax.random.key(0), network, SPEC)
    optimizer = optax.adam(3e-3)

    @jax.jit
    def step(model, moments, batch):
        gradients = jax.grad(lambda m: task.loss(m, (), task.weigh(batch), None)[0])(model)
        updates, moments = optimizer.update(gradients, moments)
        return optax.apply_updates(model, updates), moments

    moments = optimizer.init(model)
    for number in range(steps):
        model, moments = step(model, moments, batches.batch(number))
    return model


def right_share(task, model, examples):
    batches = ExampleBatches(examples, SPEC, shuffle=False)
    right, logits = 0, jax.jit(task.logits)
    for number in range(batches.batches):
        batch = batches.batch(number)
        guesses = np.asarray(logits(model, batch["tokens"], batch["sizes"])).argmax(axis=1)
        right += (guesses == batch["labels"]).sum()
    return right / len(examples)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_learns_the_presence_of_a_word(name):
    network, task = TASKS[name]
    model = train(task, NETWORKS[network], texts(0))
    assert right_share(task, model, texts(1)) > 0.95


@pytest.mark.slow
def test_learns_which_text_of_a_pair_has_the_word():
    task = TASKS["cls"][1]
    model = train(task, NETWORKS["bert"], texts(0, pairs=True))
    assert right_share(task, model, texts(1, pairs=True)) > 0.95


@pytest.mark.parametrize("name", TASKS)
def test_padding_does_not_change_the_logits(name):
    network, task = TASKS[name]
    model = task.init(jax.random.key(1), NETWORKS[network], SPEC)
    batch = ExampleBatches(texts(3, 16), SPEC, shuffle=False).batch(0)
    wide = np.pad(batch["tokens"], [(0, 0), (0, 8)])
    logits = jax.jit(task.logits)
    narrow = logits(model, batch["tokens"], batch["sizes"])
    np.testing.assert_allclose(logits(model, wide, batch["sizes"]), narrow, atol=1e-5)


def test_the_second_text_has_the_second_type():
    """Types tell (a, b) from one text "a [end] b"; a network without types takes pairs too."""
    task, examples = TASKS["cls"][1], texts(4, 16, pairs=True)
    model = task.init(jax.random.key(1), NETWORKS["bert"], SPEC)
    batch = ExampleBatches(examples, SPEC, shuffle=False).batch(0)
    pair = task.logits(model, batch["tokens"], batch["sizes"])
    single = task.logits(model, batch["tokens"], batch["sizes"][:, [1, 1]])
    assert np.abs(pair - single).max() > 1e-5
    typeless = TASKS["mean"][1].init(jax.random.key(1), NETWORKS["modern"], SPEC)
    assert jnp.isfinite(TASKS["mean"][1].logits(typeless, batch["tokens"], batch["sizes"])).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_parts_of_a_batch_add_up(name):
    """Loss and gradient of a batch that is not full are the sums over its halves."""
    network, task = TASKS[name]
    model = task.init(jax.random.key(1), NETWORKS[network], SPEC)
    batch = ExampleBatches(texts(5, 11), SPEC, shuffle=False).batch(0)
    examples = task.weigh(batch)
    assert float(examples.weights.sum()) == pytest.approx(1)

    @jax.jit
    def compute(part):
        def loss(model):
            return task.loss(model, (), part, None)

        (value, (_, metrics)), gradient = jax.value_and_grad(loss, has_aux=True)(model)
        return value, gradient, metrics

    whole = compute(examples)
    halves = [
        compute(jax.tree.map(lambda x, s=s: x[s], examples)) for s in (slice(8), slice(8, 16))
    ]
    added = jax.tree.map(jnp.add, *halves)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole, added)
    assert float(whole[2]["loss"][1]) == pytest.approx(11)
    assert float(whole[2]["loss"][0]) == pytest.approx(11 * float(whole[0]), rel=1e-5)


@pytest.mark.slow
def test_rows_that_fill_up_give_no_gradient():
    task = Classify()
    model = task.init(jax.random.key(1), NETWORKS["bert"], SPEC)
    zeros = {"tokens": (16, 12), "sizes": (16, 2)}
    empty = {name: jnp.zeros(shape, jnp.int32) for name, shape in zeros.items()}
    examples = task.weigh({**empty, "labels": jnp.full(16, -1)})
    loss, gradient = jax.value_and_grad(lambda m: task.loss(m, (), examples, None)[0])(model)
    assert float(loss) == 0.0
    assert float(optax.tree.norm(gradient)) == 0.0


def test_dropout_needs_a_key_and_hits_network_and_head():
    task = Classify(dropout=0.5, network_dropout=0.5)
    assert task.network(bert(**SHAPE)).dropout == 0.5
    model = task.init(jax.random.key(1), bert(**SHAPE), SPEC)
    assert model.encoder.config.dropout == 0.5
    batch = ExampleBatches(texts(3, 16), SPEC, shuffle=False).batch(0)
    arguments = (model, batch["tokens"], batch["sizes"])
    plain = task.logits(*arguments)
    logits = jax.jit(task.logits)
    one, two, again = (logits(*arguments, jax.random.key(n)) for n in (1, 2, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, plain)


def test_takes_over_a_pretrained_model():
    spec = tiny_spec(length=32)
    objective = MaskedLM(encoder=bert(**SHAPE), second_task=NextSentence())
    pretrained = objective.init(jax.random.key(7), spec)
    model = Classify(network_dropout=0.3).init(
        jax.random.key(1), objective.encoder, SPEC, network_and_pooler(objective, pretrained)
    )
    for ours, theirs in ((model.encoder, pretrained.encoder), (model.pooler, pretrained.pooler)):
        pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    electra = Electra(discriminator=bert(**SHAPE, embedding_width=16))
    pretrained = electra.init(jax.random.key(7), spec)
    model = Classify().init(
        jax.random.key(1), electra.discriminator, SPEC, network_and_pooler(electra, pretrained)
    )
    pairs = zip(
        jax.tree.leaves(model.encoder), jax.tree.leaves(pretrained.discriminator), strict=True
    )
    assert all(np.array_equal(a, b) for a, b in pairs)
    decoder = CausalLM(decoder=gpt2(**SHAPE))
    pretrained = decoder.init(jax.random.key(7), spec)
    model = Classify(pooling="last").init(
        jax.random.key(1), decoder.decoder, SPEC, network_and_pooler(decoder, pretrained)
    )
    assert np.array_equal(model.encoder.tokens.embedding, pretrained.decoder.tokens.embedding)


def test_a_model_of_another_shape_is_an_input_error():
    objective = MaskedLM(encoder=bert(**SHAPE))
    pretrained = network_and_pooler(objective, objective.init(jax.random.key(7), tiny_spec()))
    wide = bert(**{**SHAPE, "width": 64})
    with pytest.raises(InputError, match="parameters of another model"):
        Classify().init(jax.random.key(1), wide, SPEC, pretrained)


def test_settings_that_cannot_be():
    with pytest.raises(InputError, match="set pooling to last or mean"):
        Classify().network(gpt2(**SHAPE))
    with pytest.raises(InputError, match="use cls, mean or last"):
        Classify(pooling="max")
    with pytest.raises(InputError, match="dropout=1.0 must be at least 0 and below 1"):
        Classify(dropout=1.0)


@pytest.mark.parametrize("name", TASKS)
def test_every_parameter_has_a_layout(name):
    network, task = TASKS[name]
    model = task.init(jax.random.key(1), NETWORKS[network], SPEC)
    axes = axes_of(model)
    for keys, leaf in jax.tree_util.tree_flatten_with_path(model)[0]:
        assert len(axes[path_of(keys)]) == leaf.ndim
