"""A run on images and its probes: the real loop, then the command, on tiny images; scores by hand."""

import dataclasses
import errno
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
from jaxssl.pretrained import probing
from jaxssl.pretrained.images import embed_split
from jaxssl.pretrained.probing import (
    ProbeConfig,
    check_fits,
    probe_features,
    probe_run,
    show_scores,
)
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
    for column in ("linear", "20 neighbours"):
        assert found[column] == {"top1": 1.0, "top5": 1.0}
    assert [name for name in found if "neighbours" in name] == ["20 neighbours", "30 neighbours"]
    truth = embed_split(None, readers[1], 9, TextProgress(silent=True), "truth")[1]
    most = max(np.bincount(truth)) / 9
    assert found["most frequent"] == {"top1": pytest.approx(most), "top5": pytest.approx(1.0)}


def test_a_read_only_folder_loses_no_score(config, monkeypatch, capsys):
    """The features are those of pixels, and the second kind fails: the first is written before."""

    def forbidden(path, content):
        raise OSError(errno.EROFS, "Read-only file system")

    scores = {"features": 3, "images": 5, "held_out": 4, "strength": 0.1}
    scores |= {name: {"top1": 0.5, "top5": 1.0} for name in ("linear", "most frequent")}
    monkeypatch.setattr(probing, "probe_features", lambda *_: scores)
    monkeypatch.setattr(probing, "write_json", forbidden)
    main(["probe", config.run, "--no-baselines"])
    printed = capsys.readouterr()
    assert "50.0 / 100.0" in printed.out
    assert "probe.json cannot be written (Read-only file system)" in printed.err


def test_what_is_known_is_written_before_the_next_kind(config, monkeypatch):
    def only_the_first(fields, kind, readers, progress, name):
        if name != "run":
            raise KeyboardInterrupt
        return {"linear": {"top1": 0.25}}

    monkeypatch.setattr(probing, "probe_features", only_the_first)
    with pytest.raises(KeyboardInterrupt):
        probe_run(ProbeConfig(config.run, batch=16), TextProgress(silent=True))
    result = json.loads((Path(config.run) / "probe.json").read_text(encoding="utf8"))
    assert result["run"] == {"linear": {"top1": 0.25}}


def test_the_table_of_scores():
    names = ("linear", "20 neighbours", "100 neighbours")
    scores = {name: {"top1": 0.125, "top5": 0.5} for name in names}
    scores["most frequent"] = {"top1": 0.77, "top5": 1.0}
    own = {"features": 1024, "images": 5000, "held_out": 200, **scores}
    result = {"folder": "runs/x", "step": 1500, "data": "set", "classes": 8, "run": own}
    title, head, row, foot = show_scores(result).splitlines()
    assert title.startswith("runs/x, step 1,500, on set")
    assert row.split() == ["run", "1,024", *["12.5", "/", "50.0"] * 3]
    assert head.split() == ["features", "linear", "20", "neighbours", "100", "neighbours"]
    end = "always the most frequent class: 77.0 / 100.0"
    assert foot == f"fitted on 5,000 images, measured on 200; {end}"
    assert "raw pixels" in show_scores({**result, "raw pixels": own})


@pytest.mark.parametrize("seed", [-1, 2**31, 99_999_999_999_999_999_999])
def test_seeds_that_cannot_be(seed):
    with pytest.raises(InputError, match=f"seed={seed} must be from 0"):
        ProbeConfig("run", seed=seed)


@pytest.mark.parametrize("name", ["images", "held_out", "batch"])
def test_sizes_that_cannot_be(name):
    with pytest.raises(InputError, match=f"{name}=0 must be at least 1"):
        ProbeConfig("run", **{name: 0})
