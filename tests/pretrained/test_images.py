"""Features of images: as the encoder computes them, on a subset of a prepared set, with its labels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.augment import Augmentation
from jaxssl.data.images import IMAGES, LABELS, Images
from jaxssl.data.progress import TextProgress
from jaxssl.errors import InputError
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives import Rotation
from jaxssl.pretrained.images import (
    ImageEmbedder,
    compile_features,
    embed_split,
    embedder_of,
    labelled_batches,
    load_image_embedder,
    make_preprocessing,
    measure_statistics,
    open_subset,
    random_encoder,
    views_of,
    whole_views,
)
from jaxssl.training.config import Pretraining
from tests.pretrained.hand_made import filled, new_model, save_run, state_of
from tests.tiny import tiny_images

ENCODER = ResNetConfig(10, width=8, norm="batch")
STILL = Augmentation(crop=None, flip=0.0)
NORMALISED = Augmentation(size=(8, 8), flip=1.0, mean=(0.5,) * 3, std=(0.25,) * 3)
PIXELS = tiny_images(2, 7)
SILENT = TextProgress(silent=True)


@pytest.fixture(scope="module")
def run(picture_set, tmp_path_factory):
    """A run with random parameters; the running statistics of its batch norms have moved."""
    folder = tmp_path_factory.mktemp("runs") / "rotation"
    config = Pretraining(
        Images(picture_set, batch=8), Rotation(ENCODER, views=STILL), run=str(folder)
    )
    model = new_model(config)
    carried = filled(config.objective.init_state(model), 0.125)
    save_run(config, [(state_of(1, model, carried=carried), None)])
    return config


@pytest.mark.parametrize(
    "pixels", [PIXELS / np.float32(255), PIXELS.astype(np.int32), PIXELS[0], PIXELS.tolist()]
)
def test_images_that_are_no_bytes_are_refused(run, pixels):
    embed, _ = load_image_embedder(run.run)
    with pytest.raises(InputError, match="pass uint8 from 0 to 255 of shape"):
        embed(pixels)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_of_other_channels_are_refused(run, channels):
    embed, _ = load_image_embedder(run.run)
    pixels = np.zeros((2, 16, 16, channels), np.uint8)
    with pytest.raises(
        InputError, match=f"have channels {channels} and those of the run 3; convert"
    ):
        embed(pixels)


def test_features_are_those_of_the_checkpoint(run):
    """Image by image by hand, with the running statistics; blocks that are filled up change nothing."""
    embed, pretrained = load_image_embedder(run.run)
    embed = dataclasses.replace(embed, batch=3)
    found = embed(PIXELS)
    statistics = pretrained.carried["statistics"]["encoder"]
    assert (np.asarray(statistics[0]["mean"]) == 0.125).all()
    assert found.std(axis=0).max() > 0.1
    by_hand = jax.jit(lambda images: pretrained.model.encoder(images, statistics=statistics)[0])
    for image, own in zip(PIXELS, found, strict=True):
        one = jnp.asarray(image[None], jnp.float32) / 255
        np.testing.assert_allclose(own, by_hand(one)[0], rtol=1e-4, atol=1e-5)
    assert embed(PIXELS[:0]).shape == (0, 64)
    # Without statistics, batch norms take those of the images; other parameters give other features.
    by_batch = embed.with_parameters(pretrained.model.encoder)
    assert by_batch.statistics is None
    assert np.abs(by_batch(PIXELS)[0] - found[0]).max() > 1e-3
    # They fill up an incomplete batch themselves: as many copies of each, or one more of the first.
    alone = pretrained.model.encoder(jnp.asarray(PIXELS[6:], jnp.float32) / 255)[0]
    np.testing.assert_allclose(by_batch(PIXELS)[6], alone[0], rtol=1e-4, atol=1e-5)
    other = random_encoder(run.objective, pretrained.spec, seed=5)
    assert np.abs(embed.with_parameters(other, statistics)(PIXELS) - found).max() > 1e-3


def test_a_model_without_an_encoder_of_images(run):
    with pytest.raises(InputError, match="runs/x: a dict has no encoder of images"):
        embedder_of(run.objective, {"words": 0}, (), "runs/x")


def test_augmentations_of_an_objective_are_found():
    first, second = Augmentation(), Augmentation(flip=0.1)
    assert views_of(Rotation(ENCODER, views=first)) == [first]
    assert views_of((ENCODER, (first, second), 3)) == [first, second]
    assert views_of(ENCODER) == []


def test_preprocessing_resizes_and_normalises_only():
    """No flip and no crop: 16 x 16 pixels become 8 x 8 means, minus 0.5 and divided by 0.25."""
    assert whole_views(NORMALISED) == dataclasses.replace(NORMALISED, crop=None, flip=0.0)
    prepared = make_preprocessing(Rotation(ENCODER, views=NORMALISED))(jnp.asarray(PIXELS))
    assert prepared.shape == (7, 8, 8, 3)
    whole = make_preprocessing(Rotation(ENCODER, views=STILL))(jnp.asarray(PIXELS))
    np.testing.assert_allclose(whole, PIXELS / 255, atol=1e-6)
    restored = np.asarray(prepared) * 0.25 + 0.5
    means = (PIXELS / 255).reshape(7, 8, 2, 8, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(restored.mean(axis=(1, 2)), means.mean(axis=(1, 2)), atol=0.02)
    mirrored = means[:, :, ::-1]
    assert np.abs(restored - means).mean() < 0.5 * np.abs(restored - mirrored).mean()


def test_a_subset_is_random_and_a_whole_split_in_order(picture_set):
    data = Images(picture_set, batch=64)
    every = open_subset(data, "train", 10_000)
    assert every.batches * 64 >= every.rows
    in_order = data.open("train", seed=0, shuffle=False).batch(0)[IMAGES]
    np.testing.assert_array_equal(every.batch(0)[IMAGES], in_order)
    some = open_subset(data, "train", 20)
    assert some.spec.batch == 20
    found = {image.tobytes() for image in some.batch(0)[IMAGES]}
    assert len(found) == 20
    assert found != {image.tobytes() for image in in_order[:20]}


def test_a_split_is_embedded_once_and_with_its_labels(picture_set):
    """The last batch, filled up with images again, gives only its own; a limit ends within a batch."""
    reader = open_subset(Images(picture_set, batch=16), "train", 10_000)
    assert reader.rows % 16
    pixels, labels = embed_split(None, reader, 10_000, SILENT, "all")
    assert len(pixels) == len(labels) == reader.rows
    assert pixels.shape[1] == 16 * 16 * 3
    first = reader.batch(0)
    flat = first[IMAGES].reshape(16, -1) / np.float32(255)
    np.testing.assert_array_equal(pixels[:16], flat)
    np.testing.assert_array_equal(labels[:16], first[LABELS])
    features, some = embed_split(lambda images: images[:, 0, 0], reader, 21, SILENT, "some")
    assert features.shape == (21, 3)
    np.testing.assert_array_equal(some, labels[:21])
    assert sum(len(own) for _, own in labelled_batches(reader)) == reader.rows


def test_images_without_labels(picture_set, monkeypatch):
    reader = open_subset(Images(picture_set, batch=16), "valid", 10_000)
    monkeypatch.setattr(reader, "batch", lambda number: {IMAGES: PIXELS})
    with pytest.raises(InputError, match="held out: no image has a label; set data to"):
        embed_split(None, reader, 10, SILENT, "held out")


def test_statistics_are_measured_on_whole_batches(run):
    """30 of the images in batches of 8: three batches, whose moments are averaged by hand."""
    objective = run.objective
    reader = run.data.open("train", seed=0, shuffle=False)
    encoder = random_encoder(objective, reader.spec, 0)
    found = measure_statistics(objective, encoder, reader, images=30)
    apply = jax.jit(lambda pixels: encoder(pixels / jnp.float32(255))[1])
    parts = [apply(jnp.asarray(reader.batch(number)[IMAGES])) for number in range(3)]
    for own, *other in zip(*map(jax.tree.leaves, (found, *parts)), strict=True):
        np.testing.assert_allclose(own, np.mean(other, axis=0), rtol=1e-4, atol=1e-5)
    embed = ImageEmbedder(compile_features(objective), encoder, found, batch=5)
    np.testing.assert_allclose(embed(PIXELS)[:2], embed(PIXELS[:2]), rtol=1e-4, atol=1e-5)
    plain = Rotation(ResNetConfig(10, width=8, norm="group"), views=STILL)
    encoder = random_encoder(plain, reader.spec, 0)
    assert measure_statistics(plain, encoder, reader, images=8) is None


def test_random_encoders_differ_by_their_seeds(run):
    spec = run.data.open("train", seed=0).spec
    first, again, other = (
        jax.tree.leaves(random_encoder(run.objective, spec, seed)) for seed in (0, 0, 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
