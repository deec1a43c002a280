"""Autoencoder of images: corruption of the input, the loss of the whole image, running statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.augment import Augmentation, fold
from jaxssl.errors import InputError
from jaxssl.models.recipes import vit
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import ImageAutoencoder
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.image_autoencoder import NOISE
from tests.objectives.learned_by_heart import check_learned
from tests.tiny import tiny_image_spec, tiny_images

SPEC = tiny_image_spec(batch=8)
STILL = Augmentation(crop=None, flip=0.0)
BLOCKS = {"depth": 1, "width": 32, "heads": 2, "initializer_range": 0.1}
VIT = VisionTransformerConfig(vit(**BLOCKS), patch=4)
PLAIN = ImageAutoencoder(ResNetConfig(10, width=8), code=16, decoder_width=8, views=STILL)


def drawn(objective, batch=8, seed=1):
    pixels = jnp.asarray(tiny_images(3, batch))
    return objective.corrupt(Images(pixels), jax.random.key(seed))


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_another_size_of_image():
    """Sides that are no multiple of 8."""
    spec = tiny_image_spec(batch=2, size=20)
    model = PLAIN.init(jax.random.key(0), spec)
    assert model.decode(jnp.zeros((2, 64)), "float32").shape == (2, 20, 20, 3)


@pytest.mark.slow
def test_one_batch_is_learned_by_heart():
    """Three images in 120 steps, whose views and corruption stay the same."""
    spec = tiny_image_spec(batch=3)
    how = {"rate": 5e-3, "seed": 3, "key_of": lambda step: None}
    check_learned(PLAIN, spec, 120, 0.1, 0.005, **how)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: ImageAutoencoder(VIT, mask_ratio=-0.1), "mask_ratio=-0.1 must be at least 0"),
        (lambda: ImageAutoencoder(VIT, noise=-1.0), "noise=-1.0 must be at least 0"),
        (lambda: ImageAutoencoder(VIT, code=0), "code=0 must be at least 1"),
    ],
)
def test_bad_fields(make, line):
    with pytest.raises(InputError, match=line):
        make()
