"""Masked autoencoder: which patches are hidden, in which order they come back, the loss against a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.augment import Augmentation, fold
from jaxssl.errors import InputError
from jaxssl.models.recipes import vit
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import MaskedAutoencoder
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import random_order
from jaxssl.objectives.masked_autoencoder import HIDDEN, in_order
from tests.objectives.learned_by_heart import check_learned
from tests.tiny import tiny_image_spec, tiny_images

SPEC = tiny_image_spec(batch=8)
STILL = Augmentation(crop=None, flip=0.0)
BLOCKS = {"depth": 1, "width": 32, "heads": 2, "initializer_range": 0.1}
VIT = VisionTransformerConfig(vit(**BLOCKS), patch=4)
MASKED = MaskedAutoencoder(VIT, vit(**BLOCKS), views=STILL)


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_one_batch_is_learned_by_heart():
    """Three images in 120 steps, whose views and corruption stay the same."""
    spec = tiny_image_spec(batch=3)
    how = {"rate": 5e-3, "seed": 3, "key_of": lambda step: None}
    check_learned(MASKED, spec, 120, 1.0, 0.1, **how)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: MaskedAutoencoder(VIT, vit(**BLOCKS), mask_ratio=1.0),
            "mask_ratio=1.0 must be above 0 and below 1",
        ),
        (lambda: MaskedAutoencoder(VIT, vit(**BLOCKS, causal=True)), "leave causal"),
        (
            lambda: MASKED.init(None, tiny_image_spec(size=18)),
            "encoder.patch=4 does not divide views of 18x18 pixels",
        ),
        (lambda: MASKED.init(None, tiny_image_spec(size=4)), "leaves 0 of 1 patches visible"),
    ],
)
def test_bad_fields(make, line):
    with pytest.raises(InputError, match=line):
        make()
