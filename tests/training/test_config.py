"""Recipes and flags: what changes, what is refused with one line, and files of the user's own."""

import dataclasses

import pytest

from jaxssl.errors import InputError
from jaxssl.training.config import Pretraining, load_config, read_config

QUICK, IMAGES = "configs/quickstart.py", "configs/simclr_cifar10.py"


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ([], "--config FILE is missing"),
        (["--config", "configs/quickstrat.py"], "did you mean configs/quickstart.py"),
        (["--config", QUICK, "--data.bacth", "3"], "nearest is --data.batch"),
        (["--config", QUICK, "--objective.encoder.widht", "3"], "--objective.encoder.width"),
        (["--config", QUICK, "--steps", "0"], "steps=0 must be at least 1"),
        (["--config", QUICK, "--microbatches", "7"], "cannot be cut into 7"),
        (["--config", QUICK, "--objective.rate", "2"], "rate=2.0 must be above 0 and below 1"),
        (["--config", QUICK, "--objective.encoder.heads", "5"], "heads=5 does not divide"),
        (["--config", IMAGES, "--objective.views.flip", "2"], "flip=2.0 must be between 0 and 1"),
    ],
)
def test_bad_flags_get_one_line(flags, line, capsys):
    with pytest.raises(InputError) as told:
        read_config(Pretraining, "", flags)
    assert line in str(told.value)
    assert "\n" not in str(told.value)
    assert capsys.readouterr() == ("", "")


def test_flags_change_fields():
    flags = ["--config", QUICK, "--steps", "7", "--optimizer.peak", "1e-4", "--data.batch", "8"]
    config = read_config(Pretraining, "", [*flags, "--objective.encoder.depth", "3"])
    assert (config.steps, config.optimizer.peak, config.data.batch) == (7, 1e-4, 8)
    assert config.objective.encoder.depth == 3
    assert config.run == "runs/quickstart"
    assert config.optimizer == dataclasses.replace(
        load_config(QUICK, Pretraining).optimizer, peak=1e-4
    )


def test_an_objective_of_another_kind_is_refused():
    config = load_config(QUICK, Pretraining)
    with pytest.raises(
        InputError, match=r"objective object has no `init`; .* jaxssl.objectives.Objective"
    ):
        dataclasses.replace(config, objective=object())
