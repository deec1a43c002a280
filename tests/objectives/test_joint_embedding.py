"""Joint embeddings against their formulas written out; accumulation and devices; teachers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.augment import Augmentation, MultiCrop, fold
from jaxssl.errors import InputError
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives.batches.batch import Images, Text, Vocabulary
from jaxssl.objectives.image_text import bounded
from jaxssl.objectives.joint_embedding.batch_statistics import in_every_row
from jaxssl.objectives.joint_embedding.teacher import Momentum
from jaxssl.objectives.joint_embedding.two_views import Embeddings, run_heads
from jaxssl.sharding.mesh import Mesh, batch_sharding
from jaxssl.training.step import gradients_of
from tests.objectives.tiny_views import (
    ENCODER,
    OBJECTIVES,
    tiny_captions,
    tiny_pairs_spec,
)
from tests.tiny import tiny_images

SPEC = tiny_pairs_spec()
VOCABULARY = Vocabulary.of(SPEC.captions)
KEY = jax.random.key(3)
SLOW = pytest.mark.slow
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


def normed(rows):
    return np.maximum((rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-5), 0)


def head(layers, rows, norm):
    """Two layers, a norm between them: over the rows for "batch", over their width for "layer"."""
    hidden, last = ((np.asarray(one.kernel[...]), np.asarray(one.bias[...])) for one in layers)
    rows = rows @ hidden[0] + hidden[1]
    rows = normed(rows) if norm == "batch" else normed(rows.T).T
    return rows @ last[0] + last[1]


@pytest.mark.parametrize("name", PAIRS)
def test_is_the_formula(name, key):
    """Views one by one, heads and loss in numpy: to 2e-4."""
    objective = OBJECTIVES[name]
    model, other = objective.init(key, SPEC), objective.init(jax.random.key(8), SPEC)
    state, examples = objective.init_state(other), objective.corrupt(batch_of(), key)
    np.testing.assert_allclose(examples.weights.sum(), 1.0, rtol=1e-6)
    loss, (_, metrics) = jax.jit(objective.loss)(model, state, examples, key)
    kinds = objective.views if isinstance(objective.views, tuple) else (objective.views,) * 2

    @jax.jit
    def written_out(model, teacher):
        views = [
            kind(examples.pixels, fold(examples.keys, number)) for number, kind in enumerate(kinds)
        ]
        return [[part.encoder(view)[0] for view in views] for part in (model, teacher)]

    def both(layers, rows):
        """Batch norms are over both views."""
        return np.split(head(layers, np.concatenate(rows), objective.norm), 2)

    teacher = state.get("teacher", model)
    features, theirs = jax.device_get(written_out(model, teacher))
    views, targets = both(model.projector.layers, features), both(teacher.projector.layers, theirs)
    predicted = views if model.predictor is None else both(model.predictor.layers, views)
    wanted = expected(name, list(zip(views, predicted, strict=True)), targets)
    np.testing.assert_allclose(loss, wanted, rtol=2e-4)
    np.testing.assert_allclose(metrics["loss"].number(), loss, rtol=1e-6)
    assert metrics["loss"].weight == 16
    apart = np.square(unit(views[0]) - unit(views[1])).sum(axis=1).mean()
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


# SimCLR, and what has batch norm in a head that another follows, which `test_meshes.py` leaves out
ON_DEVICES = ("simclr", "byol", "simsiam")


def relative_difference(first, second):
    difference = jax.tree.map(lambda a, b: a - b, first, second)
    return float(optax.tree.norm(difference) / optax.tree.norm(first))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW if name != "simclr" else ()) for name in OBJECTIVES]
)
def test_microbatches_and_devices_do_not_change_the_gradient(name):
    """Every row still meets all others, in batch norms of heads, too; the state is carried alike.

    Relative to the norm 1e-5. Those that are not of ON_DEVICES meet eight devices in `test_meshes.py`.
    """
    objective = OBJECTIVES[name]
    exact, state, metrics = gradient(objective, 1, 1)
    assert float(optax.tree.norm(exact)) > 1e-2
    for microbatches, devices in ((4, 1), (1, 8)) if name in ON_DEVICES else ((4, 1),):
        again, carried, more = gradient(objective, microbatches, devices)
        assert relative_difference(exact, again) < 1e-5, (microbatches, devices)
        loss = metrics["loss"].number()
        np.testing.assert_allclose(more["loss"].number(), loss, rtol=1e-5, atol=1e-6)
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


def test_simsiam_holds_its_targets_fixed(key):
    """Its gradient is that of a loss whose targets are numbers, to 1e-6; without the stop it is not."""
    objective = OBJECTIVES["simsiam"]
    model, examples = objective.init(key, SPEC), objective.corrupt(batch_of(), key)
    state = objective.init_state(model)
    features = jax.random.normal(key, (16, 2, ENCODER.features))
    embeddings = Embeddings(features, in_every_row((), 16))
    fixed = run_heads(model, state, embeddings)[0]

    def with_numbers(model):
        predicted = run_heads(model, state, embeddings)[1]
        norms = (jnp.linalg.norm(x, axis=2) for x in (predicted, fixed))
        products = (predicted * fixed[:, ::-1]).sum(axis=2)
        ours, theirs = norms
        return -(products / ours / theirs[:, ::-1]).mean()

    def gradient(objective):
        def contrast(model):
            return objective.contrast(model, state, embeddings, examples)[0]

        return jax.jit(jax.grad(contrast))(model)

    wanted = jax.jit(jax.grad(with_numbers))(model)
    free = dataclasses.replace(objective, stop_gradient=False)
    assert relative_difference(wanted, gradient(objective)) < 1e-6
    assert relative_difference(wanted, gradient(free)) > 0.1


def test_dino_pairs_every_crop_with_the_other_large_ones(key):
    """Against a loop over pairs of crops; the center is what the teacher gave on average."""
    objective = OBJECTIVES["dino"]
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


def test_image_text_is_the_formula(key):
    """Both losses over the images that have a caption; one row has none."""
    pixels, captions = tiny_images(1), tiny_captions(1)
    captions[5, 1:] = 0
    batch = Images(jnp.asarray(pixels), Text(jnp.asarray(captions), VOCABULARY))
    real = np.arange(16) != 5
    for name in ("clip", "siglip"):
        objective = OBJECTIVES[name]
        model, examples = objective.init(key, SPEC), objective.corrupt(batch, key)
        state = objective.init_state(model)
        embeddings = jax.jit(objective.embed)(model, state, examples, key)
        loss, (_, metrics) = jax.jit(objective.loss)(model, state, examples, key)
        images, texts = (unit(np.asarray(x, np.float64)[real]) for x in embeddings[:2])
        cosines = images @ texts.T
        if name == "clip":
            logits = cosines / 0.07
            rows, columns = (
                (np.log(np.exp(x).sum(axis=1)) - np.diag(x)).mean() for x in (logits, logits.T)
            )
            wanted = (rows + columns) / 2
        else:
            signs = 2 * np.eye(15) - 1
            wanted = np.log1p(np.exp(-signs * (cosines / 0.1 - 10))).sum() / 15
        np.testing.assert_allclose(loss, wanted, rtol=2e-4)
        assert metrics["loss"].weight == 15
        right = (np.argmax(cosines, axis=1) == np.arange(15)).mean()
        assert metrics["accuracy"].number() == pytest.approx(right)


def test_temperature_has_a_bound_and_comes_back_from_it():
    value, slope = jax.value_and_grad(lambda x: jnp.exp(bounded(x)))(jnp.array(9.0))
    assert value == pytest.approx(100.0)
    assert slope == pytest.approx(100.0)
    assert float(bounded(jnp.array(1.5))) == 1.5


@pytest.mark.parametrize(
    ("name", "changes", "line"),
    [
        ("simclr", {"temperature": 0.0}, "temperature=0.0 must be above 0"),
        ("simclr", {"projector": ()}, r"projector=\(\) must be the widths"),
        ("simclr", {"block_size": 0}, "block_size=0 must be at least 1"),
        ("byol", {"predictor": (4, 9)}, r"predictor=\(4, 9\) must end with 8"),
        (
            "byol",
            {"views": (Augmentation(), Augmentation(size=(8, 8)))},
            r"views: sizes None and \(8, 8\) cannot be",
        ),
        ("simsiam", {"predictor": (0, 8)}, r"predictor=\(0, 8\) must be the widths"),
        ("barlow_twins", {"off_diagonal_weight": -1.0}, "off_diagonal_weight=-1.0"),
        ("vicreg", {"variance_weight": -1.0}, "variance_weight=-1.0 must be at least 0"),
        ("dino", {"teacher_temperature": 0.0}, "teacher_temperature=0.0 must be above 0"),
        ("dino", {"first_temperature": -1.0}, "first_temperature=-1.0 must be above 0"),
        ("dino", {"frozen": -1}, "frozen=-1 must not be negative"),
        ("dino", {"prototypes": 1}, "prototypes=1 must be at least 2"),
        ("dino", {"crops": MultiCrop(large_count=1, small_count=0)}, "one crop has none"),
        ("clip", {"temperature": 0.001}, "temperature=0.001 must be at least 0.01"),
        ("clip", {"kind": "clop"}, "kind='clop' is unknown; use clip or siglip"),
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
