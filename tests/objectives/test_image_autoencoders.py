"""Masked and plain autoencoders of images: what is hidden, in which order it comes back, what is learned."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.augment import Augmentation, fold
from jaxssl.errors import InputError
from jaxssl.models.recipes import vit
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import ImageAutoencoder, MaskedAutoencoder
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import random_order
from jaxssl.objectives.image_autoencoder import NOISE
from jaxssl.objectives.masked_autoencoder import HIDDEN, in_order
from tests.tiny import tiny_image_spec, tiny_images

SPEC = tiny_image_spec(batch=8)
STILL = Augmentation(crop=None, flip=0.0)
BLOCKS = {"depth": 1, "width": 32, "heads": 2, "initializer_range": 0.1}
VIT = VisionTransformerConfig(vit(**BLOCKS), patch=4)
MASKED = MaskedAutoencoder(VIT, vit(**BLOCKS), views=STILL)
PLAIN = ImageAutoencoder(ResNetConfig(10, width=8), code=16, decoder_width=8, views=STILL)


def drawn(objective, batch=8, seed=1):
    pixels = jnp.asarray(tiny_images(3, batch))
    return objective.corrupt(Images(pixels), jax.random.key(seed))


def test_as_many_patches_are_hidden_of_every_image():
    examples = drawn(MASKED)
    order, ranks = random_order(fold(examples.keys, HIDDEN), 16)
    for own, places in zip(np.asarray(order), np.asarray(ranks), strict=True):
        assert sorted(own) == list(range(16))
        assert [list(own).index(place) for place in range(16)] == list(places)
    assert len({tuple(own) for own in np.asarray(order)}) == 8  # each image has an order of its own
    assert [MASKED.seen(places) for places in (16, 64, 196)] == [4, 16, 49]
    # The order of an image does not depend on what stands before it.
    np.testing.assert_array_equal(random_order(fold(examples.keys[2:], HIDDEN), 16)[0], order[2:])


def test_every_patch_is_hidden_as_often():
    """Of 4,000 images: 4.5 deviations of a share of 3/4 are 0.031."""
    keys = jax.random.split(jax.random.key(0), 4000)
    hidden = np.asarray(random_order(keys, 16)[1]) >= MASKED.seen(16)
    assert (hidden.sum(axis=1) == 12).all()
    np.testing.assert_allclose(hidden.mean(axis=0), 0.75, atol=0.031)


def test_order_is_restored():
    """Against a loop that puts state by state, and mask tokens where none was seen."""
    order, ranks = random_order(jax.random.split(jax.random.key(4), 3), 6)
    states = np.random.default_rng(0).normal(size=(3, 2, 5)).astype(np.float32)
    masks = np.full((3, 4, 5), 7.0, np.float32)
    slow = masks[:, :1].repeat(6, axis=1)
    for image in range(3):
        for number in range(2):
            slow[image, order[image, number]] = states[image, number]
    np.testing.assert_array_equal(in_order(states, masks, ranks), slow)


def slow_masked_loss(predicted, views, ranks, seen):
    """Patch by patch, each hidden one by its own mean and variance."""
    errors = []
    for image in range(len(views)):
        own = []
        for place in range(ranks.shape[1]):
            row, column = divmod(place, views.shape[2] // 4)
            patch = views[image, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].ravel()
            patch = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 1e-6)
            if ranks[image, place] >= seen:
                own.append(np.square(predicted[image, place] - patch).mean())
        errors.append(np.mean(own))
    return np.mean(errors)


def test_masked_loss():
    """That of the slow reference; what is hidden has no part in what is predicted."""
    model = MASKED.init(jax.random.key(0), SPEC)
    examples = drawn(MASKED)
    loss, (_, metrics) = jax.jit(MASKED.loss)(model, (), examples, None)
    views = MASKED.views(examples.pixels, examples.keys)
    order, ranks = random_order(fold(examples.keys, HIDDEN), 16)
    predict = jax.jit(MASKED.predict)
    predicted = np.asarray(predict(model, views, order[:, :4], ranks))
    slow = slow_masked_loss(predicted, np.asarray(views, np.float64), np.asarray(ranks), 4)
    assert loss == pytest.approx(slow, rel=1e-4)
    assert metrics["loss"].number() == pytest.approx(slow, rel=1e-4)

    def damaged(kept):
        hidden = ranks.reshape(8, 4, 4).repeat(4, axis=1).repeat(4, axis=2)[..., None] >= 4
        return predict(model, jnp.where(hidden == kept, views, 0.3), order[:, :4], ranks)

    np.testing.assert_array_equal(damaged(kept=False), predicted)
    assert np.abs(damaged(kept=True) - predicted).max() > 1e-3


def test_a_patch_is_told_by_its_place():
    """Mask tokens differ by their positions alone: what is predicted at two hidden places differs."""
    model = MASKED.init(jax.random.key(0), SPEC)
    views = jnp.asarray(tiny_images(5, 1), jnp.float32) / 255
    order, ranks = random_order(jax.random.split(jax.random.key(2), 1), 16)
    predicted = np.asarray(MASKED.predict(model, views, order[:, :4], ranks))[0]
    first, second = order[0, 4], order[0, 5]
    assert np.abs(predicted[first] - predicted[second]).max() > 1e-3


def test_microbatches_add_up():
    """Losses of halves, as they are cut, add up to that of the whole, to 1e-5."""
    model = MASKED.init(jax.random.key(0), SPEC)
    examples = drawn(MASKED)
    loss = jax.jit(MASKED.loss)
    halves = [jax.tree.map(lambda x, i=i: x[i::2], examples) for i in range(2)]
    parts = sum(loss(model, (), half, None)[0] for half in halves)
    assert parts == pytest.approx(float(loss(model, (), examples, None)[0]), rel=1e-5)


def test_damage():
    """As many pixels of every image are 0, in all channels; noise has its deviation (within 5 %)."""
    views = jnp.full((8, 16, 16, 3), 0.5)
    keys = drawn(PLAIN).keys
    hiding = ImageAutoencoder(PLAIN.encoder, mask_ratio=0.3)
    damaged = np.asarray(hiding.damage(views, keys))
    assert ((damaged == 0).sum(axis=(1, 2)) == round(0.3 * 256)).all()
    assert ((damaged == 0).all(axis=-1) == (damaged == 0).any(axis=-1)).all()
    assert (damaged[0] != damaged[1]).any()
    noisy = ImageAutoencoder(PLAIN.encoder, noise=0.2).damage(views, keys) - views
    assert float(noisy.std()) == pytest.approx(0.2, rel=0.05)
    one = jax.random.normal(fold(keys, NOISE)[5], (16, 16, 3))
    np.testing.assert_allclose(noisy[5], 0.2 * one, atol=1e-6)
    np.testing.assert_array_equal(PLAIN.damage(views, keys), views)


def test_plain_loss():
    """The mean square over whole pixels, of the undamaged image; the share of variance explained."""
    objective = ImageAutoencoder(VIT, code=8, mask_ratio=0.5, decoder_width=8, views=STILL)
    model = objective.init(jax.random.key(0), SPEC)
    state = objective.init_state(model)
    examples = drawn(objective)
    loss, (_, metrics) = jax.jit(objective.loss)(model, state, examples, None)
    views = np.asarray(examples.pixels, np.float32) / 255
    features, _ = model.encoder(objective.damage(jnp.asarray(views), examples.keys))
    images = np.asarray(model.decode(features, "float32"))
    assert images.shape == views.shape
    error = np.square(images - views).mean()
    assert loss == pytest.approx(error, rel=1e-4)
    variance = views.reshape(8, -1).var(axis=1).mean()
    assert metrics["explained"].number() == pytest.approx(1 - error / variance, abs=1e-4)


def test_batch_norm_statistics_move_in_training_alone():
    objective = ImageAutoencoder(ResNetConfig(10, width=8, norm="batch"), code=8, decoder_width=8)
    model = objective.init(jax.random.key(0), SPEC)
    state = objective.init_state(model)
    examples = drawn(objective)
    loss = jax.jit(objective.loss)
    _, (same, _) = loss(model, state, examples, None)
    jax.tree.map(np.testing.assert_array_equal, same, state)
    _, (moved, _) = loss(model, state, examples, jax.random.key(0))
    views = objective.views(examples.pixels, fold(examples.keys, 0))
    moments = model.encoder(views)[1]
    stem = moved["statistics"]["encoder"][0]
    np.testing.assert_allclose(stem["mean"], 0.1 * moments[0]["mean"], atol=1e-5)
    np.testing.assert_allclose(stem["variance"], 0.9 + 0.1 * moments[0]["variance"], rtol=1e-4)


@pytest.mark.parametrize(("objective", "first", "last"), [(MASKED, 1.0, 0.1), (PLAIN, 0.1, 0.005)])
def test_one_batch_is_learned_by_heart(objective, first, last):
    """What is hidden of three images, or all of them through a code of 16 numbers, in 120 steps."""
    model = objective.init(jax.random.key(0), SPEC)
    state = objective.init_state(model) if objective is PLAIN else ()
    examples = drawn(objective, batch=3)
    optimizer = optax.adam(5e-3)

    @jax.jit
    def learn(model, moments):
        gradients, (_, metrics) = jax.grad(objective.loss, has_aux=True)(
            model, state, examples, None
        )
        updates, moments = optimizer.update(gradients, moments)
        return optax.apply_updates(model, updates), moments, metrics["loss"]

    moments, losses = optimizer.init(model), []
    for _ in range(120):
        model, moments, loss = learn(model, moments)
        losses.append(loss.number())
    assert losses[0] > first
    assert np.mean(losses[-10:]) < last


def test_another_size_of_image():
    """Sides that are no multiple of 8."""
    spec = tiny_image_spec(batch=2, size=20)
    model = PLAIN.init(jax.random.key(0), spec)
    assert model.decode(jnp.zeros((2, 64)), "float32").shape == (2, 20, 20, 3)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: MaskedAutoencoder(VIT, vit(**BLOCKS), mask_ratio=1.0), "mask_ratio=1.0 must lie between"),
        (lambda: MaskedAutoencoder(VIT, vit(**BLOCKS, causal=True)), "leave causal"),
        (lambda: MASKED.init(None, tiny_image_spec(size=18)), "18x18 are not made of patches of 4"),
        (lambda: MASKED.init(None, tiny_image_spec(size=4)), "of 1 patches leaves 0 to see"),
        (lambda: ImageAutoencoder(VIT, mask_ratio=-0.1), "mask_ratio=-0.1 must be at least 0"),
        (lambda: ImageAutoencoder(VIT, noise=-1.0), "noise=-1.0 must not be negative"),
        (lambda: ImageAutoencoder(VIT, code=0), "code=0 must be at least 1"),
    ],
)
def test_bad_fields(make, line):
    with pytest.raises(InputError, match=line):
        make()
