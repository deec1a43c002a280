"""A run on images, judged and pictured: the real loop, then the command, on tiny images."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import train
from jaxssl.augment import Augmentation
from jaxssl.data.images import IMAGES, Images
from jaxssl.data.preparing.images import PrepareImages
from jaxssl.data.sources.images import ImageArrays
from jaxssl.errors import InputError
from jaxssl.models.recipes import vit
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import Colorization, ImageAutoencoder, MaskedAutoencoder, Rotation
from jaxssl.pretrained.images import (
    embedder_of,
    load_image_embedder,
    open_subset,
    views_of,
)
from jaxssl.pretrained.pictures import (
    autoencoder_rows,
    colour_rows,
    draw_rows,
    masked_rows,
    view_rows,
)
from jaxssl.tools.main import main
from jaxssl.training.config import Pretraining
from jaxssl.training.loss_picture import read_metrics
from tests.shrink import OneDevice
from tests.tiny import tiny_image_spec, tiny_images

ENCODER = ResNetConfig(10, width=8, norm="batch")
STILL = Augmentation(crop=None, flip=0.0)
SPEC = tiny_image_spec(batch=4)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Two kinds of images, one of them dark."""
    folder = tmp_path_factory.mktemp("judged")
    pixels, labels = tiny_images(batch=120), np.arange(120) % 2
    pixels[labels == 0] //= 4
    np.savez(folder / "images.npz", images=pixels, labels=np.array(["dark", "light"])[labels])
    recipe = PrepareImages(ImageArrays(str(folder / "images.npz")), 16, 16, valid=0.3, workers=1)
    config = Pretraining(
        data=Images(str(folder / "set"), batch=16, prepare=recipe),
        objective=Rotation(ENCODER, views=STILL),
        mesh=OneDevice(),
        steps=2,
        run=str(folder / "run"),
        report_every=1,
        evaluate_every=1,
        save_every=2,
        probe_images=60,
    )
    train.run(config)
    return config


def test_probe_while_training_and_pictures(config):
    records = read_metrics(Path(config.run), "valid")
    assert [record["step"] for record in records] == [1, 2]
    assert all(record["probe_accuracy"] > 0.8 for record in records)  # dark from light
    for name in ("views", "neighbours"):
        assert (Path(config.run) / f"{name}.png").stat().st_size > 1000
    # What is judged takes no part: the same run without it has the same losses.
    alone = dataclasses.replace(config, run=f"{config.run}_alone", probe_images=0)
    train.run(alone)
    losses = [[r["loss"] for r in read_metrics(Path(c.run), "train")] for c in (config, alone)]
    assert losses[0] == losses[1]


def test_features_are_those_of_the_checkpoint(config):
    """Image by image by hand, with the running statistics; blocks that are filled up change nothing."""
    embed, pretrained = load_image_embedder(config.run)
    pixels = config.data.open("valid", seed=0, shuffle=False).batch(0)[IMAGES][:7]
    found = dataclasses.replace(embed, batch=3)(pixels)
    statistics = pretrained.carried["statistics"]["encoder"]
    assert abs(np.asarray(statistics[0]["mean"])).max() > 0  # they have moved
    for image, own in zip(pixels, found, strict=True):
        one = jnp.asarray(image[None], jnp.float32) / 255
        expected, _ = pretrained.model.encoder(one, statistics=statistics)
        np.testing.assert_allclose(own, expected[0], rtol=1e-4, atol=1e-5)
    assert embed(pixels[:0]).shape == (0, 64)


def test_command(config, capsys):
    main(["probe", config.run, "--batch", "32"])
    shown = capsys.readouterr().out
    result = json.loads((Path(config.run) / "probe.json").read_text(encoding="utf8"))
    assert shown.startswith(f"{config.run}, step 2, on ")
    for name in ("run", "random network", "raw pixels"):
        assert name in shown
        assert result[name]["linear"]["top1"] > 0.8
        assert result[name]["linear"]["top5"] == 1.0  # of two classes
    assert result["raw pixels"]["features"] == 16 * 16 * 3
    assert result["run"]["features"] == 64
    assert result["step"] == 2
    main(["probe", config.run, "--images", "30", "--held-out", "8", "--no-baselines"])
    assert "random" not in capsys.readouterr().out


def test_what_cannot_be_judged(config, tmp_path, capsys):
    np.save(tmp_path / "images.npy", tiny_images(batch=20))
    recipe = PrepareImages(ImageArrays(str(tmp_path / "images.npy")), 16, 16, valid=0.3, workers=1)
    Images(str(tmp_path / "set"), batch=4, prepare=recipe).open("train", seed=0)
    with pytest.raises(SystemExit):
        main(["probe", config.run, "--data", str(tmp_path / "set")])
    assert "have no labels to judge by" in capsys.readouterr().err
    unlabelled = Images(str(tmp_path / "set"), batch=4)
    with pytest.raises(InputError, match="no labels to probe with; set --probe-images 0"):
        train.run(dataclasses.replace(config, data=unlabelled, run=str(tmp_path / "run")))
    with pytest.raises(InputError, match="a dict has no encoder of images"):
        embedder_of(config.objective, {"words": 0}, (), "runs/x")


def test_some_images_of_a_sorted_set(config):
    """The set is not sorted here, but in order its batches are always the same; some are any of all."""
    data = dataclasses.replace(config.data, batch=64)
    every = open_subset(data, "train", 10_000)
    assert every.batches * 64 >= every.rows
    in_order = every.batch(0)[IMAGES][:20]
    some = open_subset(data, "train", 20)
    assert some.spec.batch == 20
    found = {image.tobytes() for image in some.batch(0)[IMAGES]}
    assert len(found) == 20
    assert found != {image.tobytes() for image in in_order}


def test_views_of_an_objective_are_found():
    first, second = Augmentation(), Augmentation(flip=0.1)
    assert views_of(Rotation(ENCODER, views=first)) == [first]
    assert views_of((ENCODER, (first, second), 3)) == [first, second]
    rows = view_rows(
        Rotation(ENCODER, views=Augmentation(mean=(0.5,) * 3, deviation=(0.2,) * 3)), PIXELS
    )
    assert list(rows) == ["image", "view 1", "view 2", "view 3"]
    assert rows["view 1"].min() >= 0
    assert rows["view 1"].max() <= 1
    assert rows["view 1"].max() > 0.7  # not dark: the normalisation is undone


PIXELS = tiny_images(2, 3)
BLOCK = vit(depth=1, width=16, heads=2)


def test_rows_of_a_masked_autoencoder():
    """Seen patches are the image's own, hidden ones grey; predictions are in the image's own units."""
    objective = MaskedAutoencoder(VisionTransformerConfig(BLOCK, patch=4), BLOCK, views=STILL)
    model = objective.init(jax.random.key(0), SPEC)
    rows = masked_rows(objective, model, PIXELS)
    image, seen, made = rows["image"], rows["visible"], rows["reconstruction"]
    np.testing.assert_allclose(image, PIXELS / 255, atol=1e-6)
    patches = np.abs(seen - image).reshape(3, 4, 4, 4, 4, 3).max(axis=(2, 4, 5)) > 1e-6
    assert (patches.sum(axis=(1, 2)) == 12).all()
    own = patches.repeat(4, axis=1).repeat(4, axis=2)
    assert (seen[own] == 0.5).all()
    np.testing.assert_allclose(made[~own], image[~own], atol=1e-6)
    # A network that knows nothing predicts nearly 0: each patch becomes its mean.
    means = image.reshape(3, 4, 4, 4, 4, 3).mean(axis=(2, 4, 5))
    made_means = made.reshape(3, 4, 4, 4, 4, 3).mean(axis=(2, 4, 5))
    np.testing.assert_allclose(made_means, means, atol=0.1)


def test_rows_of_the_others_and_their_sheet(tmp_path):
    coder = ImageAutoencoder(ENCODER, code=8, hidden=0.5, decoder_width=8, views=STILL)
    model = coder.init(jax.random.key(0), SPEC)
    rows = autoencoder_rows(coder, model, coder.init_state(model), PIXELS)
    assert list(rows) == ["image", "visible", "reconstruction"]
    assert ((rows["visible"] == 0).all(axis=-1).mean(axis=(1, 2)) >= 0.5).all()
    colours = Colorization(ENCODER, 8, 2, views=STILL)
    model = colours.init(jax.random.key(0), SPEC)
    rows = colour_rows(colours, model, colours.init_state(model), PIXELS)
    grey = rows["lightness"]
    np.testing.assert_allclose(grey[..., 0], grey[..., 2], atol=1e-3)
    path = draw_rows({**rows, "small": PIXELS[:, :8, :8] / np.float32(255)}, tmp_path / "a.png")
    with Image.open(path) as sheet:
        assert sheet.width > 3 * 96
        assert sheet.height > 4 * 96
