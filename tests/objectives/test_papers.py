"""The table of papers names classes and recipes that exist, and every class of an objective."""

import re
import sys
from operator import attrgetter
from pathlib import Path

import pytest

from jaxssl import objectives
from jaxssl.training.config import Pretraining, load_config

LINE = re.compile(r"^    (\S.*?\S)  +(\w+)(\(.*?\))?  +(\w[\w, ]*)$")
ROWS = [match for line in (objectives.__doc__ or "").splitlines() if (match := LINE.match(line))]


def test_classes_and_recipes_exist():
    rows = [row for row in ROWS if row[1] != "paper"]
    assert len(rows) >= 27
    for row in rows:
        assert row[2] in objectives.__all__, row[0]
        for recipe in row[4].split(", "):
            assert Path(f"configs/{recipe}.py").exists(), row[0]
    abstract = {"Objective", "ContrastiveObjective", "TwoViews"}
    trained = {
        name
        for name in objectives.__all__
        if isinstance(kind := getattr(objectives, name), type)
        and objectives.Objective in kind.__mro__
    }
    assert trained - abstract == {row[2] for row in rows}


def test_every_objective_lists_its_deviations_from_its_paper():
    for row in ROWS:
        kind = getattr(objectives, row[2], None)
        if kind is None:
            continue
        text = sys.modules[kind.__module__].__doc__ or ""
        listed = re.search(r"^Deviations from the paper.*\n((?:  .*\n)+)", text, re.MULTILINE)
        assert listed, row[2]
        reasons = re.split(r"^  - ", listed[1], flags=re.MULTILINE)[1:]
        assert reasons, row[2]
        if objectives.TwoViews in kind.__mro__:
            assert (
                "What all objectives on two views share: `joint_embedding/two_views.py`"
                in listed[1]
            )


def test_objectives_on_two_views_list_what_they_share():
    text = sys.modules[objectives.TwoViews.__module__].__doc__ or ""
    assert re.search(
        r"^Deviations from the papers that all of them share.*\n  - ", text, re.MULTILINE
    )


# Numbers of the authors' code that differ from the defaults here. ModernBERT's weight decay of 1e-5 a step is
# not multiplied by its learning rate of 8e-4.
PUBLISHED = {
    "barlow_twins_resnet50": {
        "optimizer.peak": 0.2 * 2048 / 256,
        "optimizer.biases": 0.0048 / 0.2,
        "optimizer.final": 1e-3,
    },
    "bart_base": {"optimizer.peak": 4e-4, "optimizer.clip": 0.1},
    "dino_vits16": {
        "objective.encoder.positions_size": (224, 224),
        "objective.crops.small_count": 10,
        "optimizer.peak": 5e-4 * 1024 / 256,
        "optimizer.epsilon": 1e-8,
    },
    "electra_base": {"objective.generator_size": 1 / 3, "optimizer.peak": 2e-4},
    "electra_small": {"objective.generator_size": 1 / 4, "optimizer.peak": 5e-4},
    "mae_vitb16": {
        "optimizer.peak": 1.5e-4 * 4096 / 256,
        "optimizer.b2": 0.95,
        "optimizer.epsilon": 1e-8,
    },
    "modernbert_base": {
        "objective.rate": 0.3,
        "objective.shares": (0.8, 0.1, 0.1),
        "objective.encoder.rotary_base": 10_000.0,
        "optimizer.peak": 8e-4,
        "optimizer.b2": 0.98,
        "optimizer.decay": 1e-5 / 8e-4,
    },
    "simsiam_resnet50": {
        "objective.views.crop.scale": (0.2, 1.0),
        "objective.views.jitter.saturation": 0.4,
        "objective.views.mean": (0.485, 0.456, 0.406),
        "optimizer.peak": 0.05 * 512 / 256,
    },
    "simcse_bert_base": {
        "objective.temperature": 0.05,
        "optimizer.peak": 3e-5,
        "optimizer.decay": 0.0,
        "optimizer.epsilon": 1e-8,
    },
}


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_recipes_have_the_numbers_of_the_authors_code(recipe):
    config = load_config(f"configs/{recipe}.py", Pretraining)
    for name, number in PUBLISHED[recipe].items():
        assert attrgetter(name)(config) == pytest.approx(number, rel=1e-12), name
