"""ViT's folders: numbers that torch has computed, and torch itself where it is installed."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxssl
from jaxssl.data.images import ImageSpec
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.families.vit import FAMILY
from jaxssl.interop.huggingface.folder import read_folder
from jaxssl.models.recipes import vit
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives.masked_autoencoder import MaskedAutoencoder
from jaxssl.objectives.rotation import Rotation
from tests.interop.huggingface.golden_files import golden, imported
from tests.interop.huggingface.image_folders import (
    check_config,
    check_losses,
    check_outputs,
    check_own_run,
    check_torch,
)
from tests.interop.huggingface.random_folder import random_tensors, write_folder

CASES = golden("vit")
CLASSIFIER = "ViTForImageClassification"


def classify(found, features):
    """The folder's own classifier, which we keep."""
    weight, bias = (found.unused.view(f"classifier.{one}") for one in ("weight", "bias"))
    return features @ np.asarray(weight).T + np.asarray(bias)[None]


def outputs(found, inputs):
    encoder = found.model.encoder
    features, _ = encoder(inputs["pixels"])
    results = {"states": encoder.hidden_states(inputs["pixels"])}
    if found.architecture == CLASSIFIER:
        return results | {"logits": classify(found, features)}
    return results | {"features": features}


def loss_of(found, inputs):
    def loss(model):
        logits = classify(found, model.encoder(inputs["pixels"])[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, inputs["labels"]).mean()

    return loss


@pytest.mark.parametrize("name", [CLASSIFIER, pytest.param("ViTModel", marks=pytest.mark.slow)])
def test_states_and_logits_are_those_of_torch_and_bytes_come_back(name, tmp_path):
    found = check_outputs(CASES[name], tmp_path, outputs, "projector/")
    kept = "classifier" if name == CLASSIFIER else "pooler.dense"
    assert set(found.unused.names) == {f"{kept}.weight", f"{kept}.bias"}


@pytest.mark.slow
def test_ten_steps(tmp_path):
    check_losses(CASES[CLASSIFIER], tmp_path, loss_of)


@pytest.mark.slow
def test_config_goes_out_as_it_came(tmp_path):
    for name, entry in CASES.items():
        check_config(entry, tmp_path / name)


@pytest.mark.slow
def test_images_are_normalised_as_the_folder_says(tmp_path):
    entry = CASES["ViTModel"]
    plain = imported(entry, tmp_path / "plain").objective.views
    assert (plain.mean, plain.std, plain.size) == ((0.5,) * 3, (0.5,) * 3, (8, 12))
    folder = tmp_path / "own"
    write_folder(folder, entry["config"], random_tensors(entry["shapes"]))
    settings = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    views = read_folder(folder).objective.views
    assert (views.mean, views.std) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))


def test_what_would_change_numbers_is_refused(tmp_path):
    for field, value in {
        "patch_size": [4, 2],
        "image_size": [8, 10],
        "hidden_act": "gelu_10",
        "num_channels": 2,
    }.items():
        config = CASES["ViTModel"]["config"] | {field: value}
        found = "positions_size" if field == "image_size" else field
        with pytest.raises(InputError, match=found):
            FAMILY.spec(config, FAMILY.objective(config, "ViTModel"), None)


def test_networks_that_vit_cannot_express_are_refused():
    encoder, spec = VisionTransformerConfig(vit(1, 8, 2), patch=4), ImageSpec(1, 8, 8, 3)
    for changes, line in (
        ({"pooling": "mean"}, "pooling='token'"),
        ({"registers": 2}, "registers=0"),
        ({"blocks": vit(1, 8, 2, norm="rms")}, "norm='layer'"),
        ({"blocks": vit(1, 8, 2, kv_heads=1)}, "heads that share no keys"),
    ):
        with pytest.raises(InputError, match=line):
            FAMILY.config(Rotation(replace(encoder, **changes)), spec, CLASSIFIER)
    with pytest.raises(InputError, match="no network of ViT alone"):
        FAMILY.architecture(MaskedAutoencoder(encoder, vit(1, 8, 2)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{}, {"positions": "learned", "positions_size": (8, 8)}], ids=["sine", "learned"]
)
def test_a_run_of_ours_loads_in_transformers(changes, tmp_path):
    objective = Rotation(VisionTransformerConfig(vit(2, 8, 2), patch=4, **changes))
    pixels = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)

    def read(theirs, model):
        import torch

        with torch.no_grad():
            features = theirs(torch.tensor(pixels.transpose(0, 3, 1, 2))).logits
        return features, model.encoder(jnp.asarray(pixels))[0]

    check_own_run(objective, ImageSpec(1, 8, 8, 3), CLASSIFIER, tmp_path, read)


@pytest.mark.slow
def test_torch_itself_computes_the_golden_numbers_and_loads_what_goes_out(tmp_path):
    check_torch("vit", tmp_path)


@pytest.mark.slow
def test_a_folder_embeds_images_as_its_network_does(tmp_path):
    entry = CASES["ViTModel"]
    folder = write_folder(tmp_path, entry["config"], random_tensors(entry["shapes"]))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 12, 3), np.uint8)
    found = read_folder(folder)
    wanted, _ = found.model.encoder(jnp.asarray((pixels / 255 - 0.5) / 0.5, jnp.float32))
    model = jaxssl.load(f"hf:{folder}")
    np.testing.assert_allclose(model.embed(pixels), wanted, atol=1e-5)
    assert model.can == ("embed images",)
