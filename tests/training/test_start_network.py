"""A run that starts from another has its network, without a flag for each of its sizes."""

import dataclasses
import json

import pytest

from jaxssl.errors import InputError
from jaxssl.models.recipes import vit
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.runs.description import describe
from jaxssl.training.config import Pretraining, load_config, read_config
from jaxssl.training.start_network import merged, value_of

QUICK = "configs/quickstart.py"


@pytest.fixture
def learned(tmp_path):
    """A run of the recipe with another network, of which only the configuration is written."""
    config = load_config(QUICK, Pretraining)
    encoder = dataclasses.replace(config.objective.encoder, depth=3, width=48, heads=3, dropout=0.5)
    config = dataclasses.replace(
        config, objective=dataclasses.replace(config.objective, encoder=encoder)
    )
    (tmp_path / "config.json").write_text(json.dumps({"config": describe(config)}))
    return str(tmp_path), encoder


def test_the_network_is_that_of_the_run(learned):
    run, encoder = learned
    own = load_config(QUICK, Pretraining).objective
    for flags in (["--start", run], [f"--start={run}"]):
        config = read_config(Pretraining, "", ["--config", QUICK, *flags])
        assert config.start == run
        assert config.objective.encoder == dataclasses.replace(encoder, dropout=own.encoder.dropout)
        assert dataclasses.replace(config.objective, encoder=own.encoder) == own


def test_a_flag_still_changes_it(learned):
    flags = ["--start", learned[0], "--objective.encoder.depth", "2"]
    encoder = read_config(Pretraining, "", ["--config", QUICK, *flags]).objective.encoder
    assert (encoder.depth, encoder.width) == (2, 48)


def test_an_objective_without_such_a_field_keeps_its_network(learned):
    recipe = "configs/gpt2_tiny.py"
    config = read_config(Pretraining, "", ["--config", recipe, "--start", learned[0]])
    assert config.objective == load_config(recipe, Pretraining).objective


@pytest.mark.parametrize(
    ("recipe", "sizes"),
    [
        ("simclr_cifar10", {"projector": (64, 32), "norm": "batch"}),
        ("byol_cifar10", {"projector": (64, 32), "predictor": (48, 32)}),
        ("dino_cifar10", {"projector": (64, 32), "prototypes": 100}),
        ("rotation_cifar10", {"hidden": (8,)}),
        ("skip_gram_novels", {"width": 24}),
        ("autoencoder_cifar10", {"code": 24, "decoder_width": 8}),
        ("electra_small", {"generator_size": 0.5}),
    ],
)
def test_heads_of_the_same_objective_are_those_of_the_run(tmp_path, recipe, sizes):
    """They are a part of its parameters; what is learned with them may differ."""
    path = f"configs/{recipe}.py"
    own = load_config(path, Pretraining)
    theirs = dataclasses.replace(own.objective, **sizes)
    run = dataclasses.replace(own, objective=theirs)
    (tmp_path / "config.json").write_text(json.dumps({"config": describe(run)}))
    flags = ["--config", path, "--start", str(tmp_path)]
    assert read_config(Pretraining, "", flags).objective == theirs
    if "projector" in sizes:
        other = "configs/barlow_twins_cifar10.py"
        found = read_config(Pretraining, "", ["--config", other, *flags[2:]]).objective
        assert found.projector == load_config(other, Pretraining).objective.projector


def test_the_blocks_of_a_vision_transformer_are_its_own():
    own = VisionTransformerConfig(vit(2, 32, 2, dropout=0.1))
    theirs = VisionTransformerConfig(vit(4, 64, 4, dropout=0.3), patch=4)
    assert merged(own, theirs) == VisionTransformerConfig(vit(4, 64, 4, dropout=0.1), patch=4)


def test_where_the_run_stands():
    assert value_of("--start", ["--steps", "3", "--start", "a"]) == "a"
    assert value_of("--start", ["--start=b"]) == "b"
    assert value_of("--start", ["--start"]) == value_of("--start", []) == ""


def test_a_run_that_goes_on_does_not_need_the_other_one(learned):
    run, encoder = learned
    flags = ["--start", "gone", "--run", run]
    found = read_config(Pretraining, "", ["--config", QUICK, *flags]).objective.encoder
    assert (found.depth, found.width) == (encoder.depth, encoder.width)


@pytest.mark.parametrize("content", [None, "[]", "{}", '{"config": 3}', '{"config": {}}', "{"])
def test_what_is_no_run_is_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        read_config(Pretraining, "", ["--config", QUICK, "--start", str(tmp_path)])
