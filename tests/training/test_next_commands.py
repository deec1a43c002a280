"""What a finished run proposes: for every objective, commands that its model can serve."""

import argparse
import shlex
from pathlib import Path

import jax
import pytest

from jaxssl.data.images import Images
from jaxssl.errors import InputError
from jaxssl.finetuning.setup import Finetuning
from jaxssl.pretrained.images import has_image_encoder
from jaxssl.tasks.classify import Classify
from jaxssl.tools.main import make_parser
from jaxssl.tools.shipped import recipe_file
from jaxssl.training.config import Pretraining, load_config, read_config
from jaxssl.training.next_commands import next_commands
from tests.shrink import shrink_objective
from tests.tiny import tiny_image_spec, tiny_spec

RECIPES = [
    "quickstart",
    "modernbert_base",
    "electra_small",
    "data2vec_base",
    "gpt2_tiny",
    "prefix_lm_tiny",
    "t5_tiny",
    "bart_tiny",
    "autoencoder_tiny",
    "simcse_novels",
    "skip_gram_novels",
    "simclr_cifar10",
    "byol_cifar10",
    "simsiam_cifar10",
    "barlow_twins_cifar10",
    "vicreg_cifar10",
    "dino_cifar10",
    "mae_cifar10",
    "rotation_cifar10",
    "colorization_cifar10",
    "autoencoder_cifar10",
    "siglip_tiny",
]


def proposed(name, labels=()):
    """The configuration of a recipe, its model as shapes, and the command lines that are proposed."""
    config = load_config(Path("configs") / f"{name}.py", Pretraining)
    objective = shrink_objective(config.objective)
    spec = tiny_spec()
    if isinstance(config.data, Images):
        shape = tiny_image_spec()
        spec = type(shape)(shape.batch, 16, 16, 3, labels, tiny_spec(length=16))
    model = jax.eval_shape(lambda: objective.init(jax.random.key(0), spec))
    object.__setattr__(config, "objective", objective)
    object.__setattr__(config, "run", "runs/my run")
    lines = next_commands(config, model, spec)
    return objective, model, [shlex.split(line.partition(": ")[2]) for line in lines]


def parse(words):
    """The options of a command line, refused as the command itself would refuse them."""
    parser = make_parser(words[1])
    options, unknown = parser.parse_known_args(words[1:])
    assert not unknown
    return options


@pytest.mark.parametrize("name", RECIPES)
def test_every_objective_proposes_what_its_model_can_do(name):
    objective, model, commands = proposed(name, labels=("a", "b"))
    assert commands
    for words in commands:
        assert words[0] == "jaxssl"
        options = parse(words)
        match words[1]:
            case "finetune":
                flags = ["--config", str(recipe_file(options.recipe)), *options.flags]
                finetuning = read_config(Finetuning, "", flags)
                assert finetuning.task.checkpoint == "runs/my run"
                assert finetuning.data.train == "train.tsv"
                network = finetuning.task.network(objective.finetuning_config(model))
                assert hasattr(network, "causal")
            case "embed":
                assert options.folder == "runs/my run"
                assert hasattr(objective.network(model), "config")
            case "probe":
                assert options.folder == "runs/my run"
                assert has_image_encoder(model)
                with pytest.raises(InputError, match="needs a network that reads texts"):
                    Classify().network(objective.finetuning_config(model))
            case other:
                assert other == "words"
                assert hasattr(model, "words")
                with pytest.raises(InputError, match="no network for finetuning"):
                    objective.finetuning_config(model)


def test_images_without_labels_are_probed_on_a_set_that_has_them():
    *_, (words,) = proposed("simclr_cifar10")
    assert words[1:5] == ["probe", "runs/my run", "--data", "SET"]


def test_an_objective_without_a_network_proposes_nothing():
    class Bare:
        def finetuning_config(self, model):
            raise InputError("there is no network")

    config = argparse.Namespace(run="run", objective=Bare(), data=None)
    assert next_commands(config, None, None) == []
