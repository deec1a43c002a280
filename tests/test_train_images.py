"""train.py on images: the same run, step and checkpoints, with a tiny objective."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import train
from jaxssl.augment import Augmentation, RandomResizedCrop, example_keys
from jaxssl.data.images import Images
from jaxssl.data.preparing.images import PrepareImages
from jaxssl.data.sources.images import ImageFiles
from jaxssl.errors import InputError
from jaxssl.objectives import Objective
from jaxssl.objectives.batches.batch import Ratio, share_evenly
from jaxssl.optimizers.recipes import AdamW
from jaxssl.pretrained.load import load_pretrained
from jaxssl.training.config import Pretraining, read_config
from jaxssl.training.loss_picture import read_metrics
from tests.data.tiny_images import write_folder
from tests.shrink import OneDevice
from tests.test_train import state_digest, stop_after


@dataclass(frozen=True)
class Shade(Objective):
    """Tells how bright the image is from a view of it, by one layer."""

    views: Augmentation = Augmentation(crop=RandomResizedCrop(scale=(0.5, 1.0)))

    def init(self, key: Any, spec: Any) -> Any:
        inputs = spec.height * spec.width * spec.channels
        return {"words": {"embedding": 0.01 * jax.random.normal(key, (inputs, 1))}}

    def corrupt(self, batch: Any, key: Any) -> Any:
        assert batch.captions is None
        weights, total = share_evenly(jnp.ones(len(batch.pixels)))
        return {
            "pixels": batch.pixels,
            "keys": example_keys(key, len(batch.pixels)),
            "weights": weights,
            "total": jnp.broadcast_to(total, weights.shape),
        }

    def loss(self, model: Any, state: Any, examples: Any, key: Any) -> Any:
        rows = len(examples["pixels"])
        views = self.views(examples["pixels"], examples["keys"]).reshape(rows, -1)
        target = examples["pixels"].astype(jnp.float32).mean(axis=(1, 2, 3)) / 255
        apart = jnp.square((views @ model["words"]["embedding"])[:, 0] - target)
        loss, total = examples["weights"] @ apart, examples["total"][0]
        share = examples["weights"].sum()
        return loss, (state, {"loss": Ratio(loss * total, share * total)})


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    source = ImageFiles(str(write_folder(folder / "files")))
    recipe = PrepareImages(source, 8, 6, valid=0.3, workers=1)
    return Pretraining(
        data=Images(str(folder / "set"), batch=8, prepare=recipe),
        objective=Shade(),
        optimizer=AdamW(peak=1e-2, warmup=0),
        mesh=OneDevice(),
        microbatches=2,
        steps=6,
        run=str(folder / "run"),
        report_every=2,
        evaluate_every=3,
        save_every=3,
        export=False,
    )


def test_trains_and_resumes_bitwise(config, tmp_path, capsys):
    train.run(config)
    shown = capsys.readouterr().out
    assert "of 8x6x3 pixels, 2 labels" in shown
    assert "images/s, input " in shown
    records = read_metrics(Path(config.run), "train")
    assert all(record["input_seconds"] > 0 for record in records)
    part = dataclasses.replace(config, run=str(tmp_path / "parts"))
    stop_after(4, part)
    train.run(part)
    assert state_digest(tmp_path / "parts") == state_digest(config.run)
    described = json.loads((tmp_path / "parts" / "images.json").read_text(encoding="utf-8"))
    assert described["labels"] == ["cat", "dog"]
    pretrained = load_pretrained(config.run)
    assert pretrained.spec.width == 6
    assert np.isfinite(pretrained.model["words"]["embedding"]).all()
    with pytest.raises(InputError, match="has read images and no text"):
        _ = pretrained.tokenizer


def test_flags_change_a_recipe_for_images(tmp_path, monkeypatch):
    (tmp_path / "recipe.py").write_text(
        "from jaxssl.data.images import Images\nfrom jaxssl.objectives import MaskedLM\n"
        "from jaxssl.models.recipes import bert\nfrom jaxssl.training.config import Pretraining\n"
        "config = Pretraining(Images('nowhere'), MaskedLM(bert(1, 8, 2)))\n"
    )
    flags = ["--config", str(tmp_path / "recipe.py"), "--data.batch", "12", "--data.path", "here"]
    assert read_config(Pretraining, "", flags).data == Images("here", batch=12)
