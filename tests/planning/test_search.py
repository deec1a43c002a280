"""The search over what layers keep: every policy with its largest microbatch, the fastest is taken."""

import dataclasses
from types import SimpleNamespace

import pytest

from jaxssl.data import Rows
from jaxssl.errors import InputError
from jaxssl.models import bert, vit
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import MaskedLM, SimCLR
from jaxssl.planning import search
from jaxssl.planning.refusals import DoesNotFit
from jaxssl.planning.search import fastest, with_remat
from jaxssl.training.config import Pretraining

CONFIG = Pretraining(Rows("nowhere", batch=8), MaskedLM(bert(2, 16, 2)))


@pytest.fixture
def compiled(monkeypatch):
    """Makes plans of `seconds[remat]`; a policy without an entry does not fit."""
    seconds = {}

    def remat_of(config):
        return config.objective.encoder.remat

    def largest(config, target):
        if remat_of(config) not in seconds:
            raise DoesNotFit("too much")
        return dataclasses.replace(config, microbatches=2)

    def plan(config, target):
        forecast = SimpleNamespace(seconds=seconds[remat_of(config)])
        return SimpleNamespace(measured=SimpleNamespace(forecast=forecast))

    monkeypatch.setattr(search, "largest_microbatch", largest)
    monkeypatch.setattr(search, "make_plan", plan)
    return seconds


def test_the_fastest_policy_is_taken_and_all_are_told(compiled):
    compiled.update(activations=0.03, inputs=0.02)
    found, attempts = fastest(CONFIG, None)
    assert (found.objective.encoder.remat, found.microbatches) == ("inputs", 2)
    assert [attempt.in_words for attempt in attempts] == [
        "remat activations: 2 microbatches, 30.00 ms a step",
        "remat inputs: 2 microbatches, 20.00 ms a step",
    ]


def test_what_does_not_fit_is_told(compiled):
    compiled.update(inputs=0.02)
    found, attempts = fastest(CONFIG, None)
    assert found.objective.encoder.remat == "inputs"
    assert attempts[0].in_words == "remat activations: does not fit"
    compiled.clear()
    with pytest.raises(DoesNotFit):
        fastest(CONFIG, None)


def test_transformers_inside_others_are_found():
    encoder = VisionTransformerConfig(vit(depth=2, width=16, heads=2), patch=4)
    config = dataclasses.replace(CONFIG, objective=SimCLR(encoder=encoder))
    assert with_remat(config, "inputs").objective.encoder.blocks.remat == "inputs"
    assert with_remat(config, "inputs").objective.encoder.patch == 4


def test_a_network_without_layers_of_a_transformer_is_refused():
    with pytest.raises(InputError, match="SimCLR has no transformer"):
        with_remat(dataclasses.replace(CONFIG, objective=SimCLR(ResNetConfig())), "inputs")
