"""Bins of colour, soft encoding, rebalancing and annealed means against slow references; the loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.augment import Augmentation, lab_to_rgb, rgb_to_lab
from jaxssl.errors import InputError
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives import Colorization
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.prediction.colour_bins import BINS, rebalance, soft_bins
from tests.objectives.learned_by_heart import check_learned
from tests.tiny import tiny_image_spec, tiny_images

STILL = Augmentation(crop=None, flip=0.0)
OBJECTIVE = Colorization(ResNetConfig(10, width=8), decoder_width=8, doublings=2, views=STILL)
SPEC = tiny_image_spec(batch=4)


def slow_loss(objective, logits, pixels, prior):
    """Place by place: 4 x 4 pixels in 16 x 16, each the mean of its part."""
    lab = np.asarray(rgb_to_lab(jnp.asarray(pixels, jnp.float32) / 255))
    weights = np.asarray(rebalance(jnp.asarray(prior), objective.mix))
    rows, columns = logits.shape[1:3]
    height, width = pixels.shape[1] // rows, pixels.shape[2] // columns
    total, counts = 0.0, np.zeros(len(BINS))
    for image in range(len(pixels)):
        for row in range(rows):
            for column in range(columns):
                part = lab[image, row * height :, column * width :][:height, :width, 1:]
                soft, nearest = soft_bins(jnp.asarray(part.mean(axis=(0, 1))))
                scores = logits[image, row, column].astype(np.float64)
                scores -= scores.max()
                logs = scores - np.log(np.exp(scores).sum())
                total -= weights[nearest] * np.dot(soft, logs)
                counts += np.asarray(soft)
    places = len(pixels) * rows * columns
    return total / places, counts / places


@pytest.mark.slow
def test_loss_and_the_prior_that_it_counts():
    """Against one place at a time; halves of the batch add up, and the prior is that of what was seen."""
    objective = dataclasses.replace(OBJECTIVE, doublings=1)
    model = objective.init(jax.random.key(0), SPEC)
    state = objective.init_state(model)
    prior = np.random.default_rng(3).dirichlet(np.ones(len(BINS))).astype(np.float32)
    state["prior"] = jnp.asarray(prior)
    examples = objective.corrupt(Images(jnp.asarray(tiny_images(1, 4))), jax.random.key(1))
    loss = jax.jit(objective.loss)
    found, (after, metrics) = loss(model, state, examples, jax.random.key(2))
    pixels = np.asarray(examples.pixels)
    lightness = objective.inputs(jnp.asarray(pixels, jnp.float32) / 255)
    logits = np.asarray(model.decoder(model.encoder.maps(lightness)[0]))
    assert logits.shape == (4, 4, 4, len(BINS))
    expected, counts = slow_loss(objective, logits, pixels, prior)
    assert found == pytest.approx(expected, rel=1e-4)
    assert metrics["loss"].number() == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(after["counts"], counts, atol=1e-5)
    np.testing.assert_array_equal(after["prior"], prior)  # this step's weights are those of before
    np.testing.assert_allclose(objective.follow(after, model, 0)["prior"], counts, atol=1e-5)
    total, carried = 0.0, state
    for half in (0, 1):
        part = jax.tree.map(lambda x, half=half: x[half::2], examples)
        value, (carried, _) = loss(model, carried, part, jax.random.key(2))
        total += value
    assert total == pytest.approx(float(found), rel=1e-5)
    np.testing.assert_allclose(carried["counts"], after["counts"], atol=1e-6)
    unseen = loss(model, state, examples, None)[1][0]
    jax.tree.map(np.testing.assert_array_equal, unseen, state)


@pytest.mark.slow
def test_colours_are_told_from_the_lightness():
    """What is coloured keeps its lightness where a screen shows it, and does not know its own colours."""
    model = OBJECTIVE.init(jax.random.key(0), SPEC)
    state = OBJECTIVE.init_state(model)
    pixels = jnp.asarray(tiny_images(2, 2), jnp.float32) / 255
    colour = jax.jit(OBJECTIVE.colour)
    coloured = colour(model, state, pixels)
    assert coloured.shape == pixels.shape
    before, after = (np.asarray(rgb_to_lab(images)) for images in (pixels, coloured))
    shown = (np.asarray(coloured) > 0.01).all(axis=-1) & (np.asarray(coloured) < 0.99).all(axis=-1)
    assert shown.mean() > 0.5
    np.testing.assert_allclose(before[shown][:, 0], after[shown][:, 0], atol=0.01)
    grey = np.asarray(before) * [1, 0, 0]
    np.testing.assert_allclose(
        colour(model, state, lab_to_rgb(jnp.asarray(grey, jnp.float32))), coloured, atol=1e-3
    )


@pytest.mark.slow
def test_one_batch_is_learned_by_heart():
    """What is left is mostly the entropy of soft targets, about 1.2."""
    objective = dataclasses.replace(OBJECTIVE, decoder_width=16)
    check_learned(objective, tiny_image_spec(batch=8), 150, 5.0, 2.0)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: dataclasses.replace(OBJECTIVE, doublings=4), "must be a multiple of 2 "),
        (lambda: dataclasses.replace(OBJECTIVE, mix=0.0), "mix=0.0 must be above 0"),
        (lambda: dataclasses.replace(OBJECTIVE, temperature=0), "temperature=0 must be above 0"),
        (lambda: dataclasses.replace(OBJECTIVE, decoder_width=0), "decoder_width=0 must be"),
        (
            lambda: OBJECTIVE.init(None, tiny_image_spec(size=20)),
            "views of 20x20 pixels do not divide",
        ),
        (
            lambda: OBJECTIVE.init(None, dataclasses.replace(SPEC, channels=1)),
            "no colours to predict",
        ),
    ],
)
def test_bad_fields(make, line):
    with pytest.raises(InputError, match=line):
        make()
