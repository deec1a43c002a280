"""A run on images and its probes: the real loop, then the command, on tiny images; scores by hand."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import train
from jaxssl.augment import Augmentation
from jaxssl.data.images import Images
from jaxssl.data.preparing.images import PrepareImages
from jaxssl.data.progress import TextProgress
from jaxssl.data.sources.images import ImageArrays
from jaxssl.errors import InputError
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives import Rotation
from jaxssl.pretrained.probing import COLUMNS, ProbeConfig, check_fits, probe_features, show_scores
from jaxssl.tools.main import main
from jaxssl.training.config import Pretraining
from jaxssl.training.loss_picture import read_metrics
from tests.shrink import OneDevice
from tests.tiny import tiny_images

ENCODER = ResNetConfig(10, width=8, norm="batch")
STILL = Augmentation(crop=None, flip=0.0)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Two kinds of images, one of them dark."""
    folder = tmp_path_factory.mktemp("probed")
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


@pytest.mark.slow
def test_probe_while_training_and_pictures(config):
    records = read_metrics(Path(config.run), "valid")
    assert [record["step"] for record in records] == [1, 2]
    assert all(record["probe_accuracy"] > 0.8 for record in records)  # dark from light
    for name in ("views", "neighbours"):
        assert (Path(config.run) / f"{name}.png").stat().st_size > 1000
    # The probe takes no part in the training: the same run without it has the same losses.
    alone = dataclasses.replace(config, run=f"{config.run}_alone", probe_images=0)
    train.run(alone)
    losses = [[r["loss"] for r in read_metrics(Path(c.run), "train")] for c in (config, alone)]
    assert losses[0] == losses[1]


@pytest.mark.slow
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


def test_images_without_labels_are_refused(config, tmp_path, capsys):
    np.save(tmp_path / "images.npy", tiny_images(batch=20))
    recipe = PrepareImages(ImageArrays(str(tmp_path / "images.npy")), 16, 16, valid=0.3, workers=1)
    Images(str(tmp_path / "set"), batch=4, prepare=recipe).open("train", seed=0)
    with pytest.raises(SystemExit):
        main(["probe", config.run, "--data", str(tmp_path / "set")])
    assert "have no labels to predict; set data to" in capsys.readouterr().err
    unlabelled = Images(str(tmp_path / "set"), batch=4)
    with pytest.raises(InputError, match="no labels to probe with; set probe_images=0"):
        train.run(dataclasses.replace(config, data=unlabelled, run=str(tmp_path / "run")))


def test_images_of_another_shape_are_refused(config):
    reader = config.data.open("valid", seed=0)
    check_fits(reader, reader.spec)
    for name, other in (("height", 8), ("channels", 1)):
        with pytest.raises(InputError, match=f"images have {name} .* and those of the run {other}"):
            check_fits(reader, dataclasses.replace(reader.spec, **{name: other}))


def test_features_that_give_the_label_away(config):
    """One feature is the label: all scores are perfect, on so many images as were asked for."""
    readers = [config.data.open(split, seed=0, shuffle=False) for split in ("train", "valid")]
    fields = ProbeConfig("", images=30, held_out=9)

    def brightness(pixels):
        bright = pixels.reshape(len(pixels), -1).max(axis=1) > 64  # the other class is dark
        return np.stack([np.ones(len(pixels)), bright], axis=1).astype(np.float32)

    found = probe_features(fields, brightness, readers, TextProgress(silent=True), "by hand")
    assert (found["features"], found["images"], found["held_out"]) == (2, 30, 9)
    assert found["strength"] > 0
    for column in COLUMNS[:2]:
        assert found[column] == {"top1": 1.0, "top5": 1.0}


def test_the_table_of_scores():
    scores = {column: {"top1": 0.125, "top5": 0.5} for column in COLUMNS}
    own = {"features": 1024, "images": 5000, "held_out": 200, **scores}
    result = {"folder": "runs/x", "step": 1500, "data": "set", "classes": 8, "run": own}
    title, _, row, foot = show_scores(result).splitlines()
    assert title.startswith("runs/x, step 1,500, on set")
    assert row.split() == ["run", "1,024", *["12.5", "/", "50.0"] * 3]
    assert foot == "fitted on 5,000 images, measured on 200; chance 12.5"
    assert "raw pixels" in show_scores({**result, "raw pixels": own})


@pytest.mark.parametrize("name", ["images", "held_out", "batch"])
def test_sizes_that_cannot_be(name):
    with pytest.raises(InputError, match=f"{name}=0 must be at least 1"):
        ProbeConfig("run", **{name: 0})
