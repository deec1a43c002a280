"""What a run says of fields that do not fit each other."""

import dataclasses
from pathlib import Path

import jax
import pytest

from jaxssl.data.images import Images
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives import BYOL, SimCLR
from jaxssl.objectives.joint_embedding.teacher import Momentum
from jaxssl.optimizers import AdamW
from jaxssl.runs.modules import load_module
from jaxssl.training.cautions import cautions
from jaxssl.training.config import Pretraining
from tests.objectives.tiny_views import OBJECTIVES, WIDTHS
from tests.tiny import tiny_image_spec


def said(objective, **changes):
    """The cautions of a run of 100 steps."""
    fields = {"steps": 100, "optimizer": AdamW(warmup=10), **changes}
    config = Pretraining(Images("pictures", batch=8), objective, **fields)
    shapes = jax.eval_shape(lambda key: objective.init(key, tiny_image_spec()), jax.random.key(0))
    return cautions(config, shapes)


def test_batch_norms_of_an_encoder_see_a_microbatch():
    (line,) = said(SimCLR(ResNetConfig(10, width=8, norm="batch")), microbatches=2)
    assert line.startswith("microbatches=2: the batch norms of objective.encoder")
    assert "one microbatch of 4 rows" in line
    assert said(SimCLR(ResNetConfig(10, width=8, norm="batch"))) == []
    assert said(SimCLR(ResNetConfig(10, width=8)), microbatches=2) == []
    # heads see the global batch whatever the microbatches are
    assert (
        said(BYOL(ResNetConfig(10, width=8), projector=WIDTHS, predictor=WIDTHS), microbatches=2)
        == []
    )


def test_schedules_that_are_longer_than_the_run():
    (line,) = said(dataclasses.replace(OBJECTIVES["byol"], momentum=Momentum(0.9, steps=200)))
    assert line.startswith("objective.momentum.steps=200 is beyond steps=100")
    assert "grows to 0.95, not to 1" in line
    assert said(dataclasses.replace(OBJECTIVES["dino"], frozen=99)) == []
    (line,) = said(dataclasses.replace(OBJECTIVES["dino"], frozen=100))
    assert line.startswith("objective.frozen=100")
    (line,) = said(OBJECTIVES["byol"], optimizer=AdamW(warmup=50))
    assert line == "optimizer.warmup=50 is cut to 10, a tenth of the run's 100 steps"


@pytest.mark.parametrize("name", ["simclr", "byol", "dino"])
def test_nothing_is_said_of_a_run_that_fits(name):
    assert said(OBJECTIVES[name]) == []


@pytest.mark.parametrize("path", sorted(Path("configs").glob("*.py")), ids=lambda path: path.stem)
def test_no_recipe_for_pretraining_cuts_its_own_warm_up(path):
    config = load_module(path).config
    if isinstance(config, Pretraining):
        assert config.optimizer.warmup_of(config.steps) == config.optimizer.warmup
