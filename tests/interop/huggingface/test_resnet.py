"""ResNet's folders: numbers that torch has computed, and torch itself where it is installed."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.data.images import ImageSpec
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.families.resnet import FAMILY
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives.simclr import SimCLR
from tests.interop.huggingface.golden_files import golden
from tests.interop.huggingface.image_folders import (
    check_losses,
    check_outputs,
    check_own_run,
    check_torch,
)

CASES = golden("resnet")
CLASSIFIER = "ResNetForImageClassification"


def classify(found, features):
    """The folder's own classifier, which we keep."""
    weight, bias = (found.unused.view(f"classifier.1.{one}") for one in ("weight", "bias"))
    return features @ np.asarray(weight).T + np.asarray(bias)[None]


def outputs(found, inputs):
    encoder, pixels = found.model.encoder, jnp.asarray(inputs["pixels"])
    statistics = found.carried["statistics"]["encoder"]
    maps = encoder.hidden_maps(pixels, statistics=statistics)
    features, _ = encoder(pixels, statistics=statistics)
    results = {f"maps {number}": maps[number] for number in (0, 1, 4)}
    if found.architecture == CLASSIFIER:
        return results | {"logits": classify(found, features)}
    return results | {"features": features}


def loss_of(found, inputs):
    def loss(model):
        logits = classify(found, model.encoder(jnp.asarray(inputs["pixels"]))[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, inputs["labels"]).mean()

    return loss


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_maps_and_logits_are_those_of_torch_and_bytes_come_back(name, tmp_path):
    found = check_outputs(CASES[name], tmp_path, outputs, "projector/")
    counts = [one for one in found.unused.names if one.endswith("num_batches_tracked")]
    assert len(counts) == (12 if name == CLASSIFIER else 17)
    assert len(found.unused.names) == len(counts) + 2 * (name == CLASSIFIER)


@pytest.mark.slow
def test_ten_steps(tmp_path):
    check_losses(CASES[CLASSIFIER], tmp_path, loss_of)


def test_config_goes_out_as_it_came():
    for name, entry in CASES.items():
        architecture = name.partition("-")[0]
        objective = FAMILY.objective(entry["config"], architecture)
        out = FAMILY.config(objective, ImageSpec(1, 32, 32, 3), architecture)
        assert FAMILY.objective(out, architecture) == objective
        assert objective.encoder.bottleneck_stride == ("1x1" if "1x1" in name else "3x3")


def test_what_would_change_numbers_is_refused():
    config = CASES["ResNetModel"]["config"]
    for field, value in {
        "hidden_act": "gelu",
        "downsample_in_first_stage": True,
        "depths": [1, 2, 1, 1],
        "hidden_sizes": [8, 16, 32, 65],
        "layer_type": "deep",
    }.items():
        with pytest.raises(InputError, match=field):
            FAMILY.objective(config | {field: value}, "ResNetModel")


def test_networks_that_resnet_cannot_express_are_refused():
    for changes, line in (({"stem": "cifar"}, "stem='imagenet'"), ({"norm": "group"}, "norm=")):
        encoder = ResNetConfig(10, **{"stem": "imagenet", "norm": "batch"} | changes)
        with pytest.raises(InputError, match=line):
            FAMILY.config(SimCLR(encoder), ImageSpec(1, 32, 32, 3), "ResNetModel")


@pytest.mark.slow
def test_a_run_of_ours_loads_in_transformers(tmp_path):
    objective = SimCLR(ResNetConfig(14, width=4, stem="imagenet", norm="batch"))
    pixels = np.random.default_rng(0).normal(size=(2, 40, 32, 3)).astype(np.float32)

    def read(theirs, model):
        import torch

        with torch.no_grad():
            found = theirs(torch.tensor(pixels.transpose(0, 3, 1, 2))).pooler_output[:, :, 0, 0]
        encoder = model.encoder
        statistics = encoder.first_statistics()
        return found, encoder(jnp.asarray(pixels), statistics=statistics)[0]

    check_own_run(objective, ImageSpec(1, 40, 32, 3), "ResNetModel", tmp_path, read)


@pytest.mark.slow
def test_torch_itself_computes_the_golden_numbers_and_loads_what_goes_out(tmp_path):
    check_torch("resnet", tmp_path)
