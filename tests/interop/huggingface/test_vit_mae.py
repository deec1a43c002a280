"""Folders of masked autoencoders: numbers that torch has computed, and torch itself where it is installed."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses as functions
from jaxssl.data.images import ImageSpec
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.families.vit_mae import FAMILY
from jaxssl.interop.huggingface.folder import read_folder
from jaxssl.models.layers.patches import split_patches
from jaxssl.models.recipes import vit
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives.corruption.positions import read_at
from jaxssl.objectives.masked_autoencoder import MaskedAutoencoder
from tests.interop.huggingface.golden_files import golden
from tests.interop.huggingface.image_folders import (
    check_config,
    check_losses,
    check_outputs,
    check_own_run,
    check_torch,
)
from tests.interop.huggingface.random_folder import random_tensors, write_folder

CASES = golden("vit_mae")
WHOLE = "ViTMAEForPreTraining"


def order_of(noise):
    order = jnp.argsort(noise, axis=1)
    return order, jnp.argsort(order, axis=1)


def outputs(found, inputs):
    model, objective = found.model, found.objective
    order, ranks = order_of(inputs["noise"])
    seen = order[:, : objective.seen(order.shape[1])]
    encoder = model.encoder
    visible = read_at(encoder.embed(inputs["pixels"]), seen)
    results = {"states": encoder.blocks.hidden_states(encoder._with_first(visible))}
    if found.architecture == WHOLE:
        pixels = objective.predict(model, inputs["pixels"], seen, ranks)
        return results | {"logits": pixels}
    return results | {"last": encoder.run(visible)}


def loss_of(found, inputs):
    order, ranks = order_of(inputs["noise"])
    count = found.objective.seen(order.shape[1])
    targets = split_patches(jnp.asarray(inputs["pixels"]), 4)

    def loss(model):
        predicted = found.objective.predict(model, inputs["pixels"], order[:, :count], ranks)
        return functions.masked_reconstruction(
            predicted, targets, ranks >= count, normalize_target=True
        )

    return loss


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_states_and_pixels_are_those_of_torch_and_bytes_come_back(name, tmp_path):
    missing = "-" if name == WHOLE else ("narrow", "mask", "decoder", "patches")
    found = check_outputs(CASES[name], tmp_path, outputs, missing)
    assert {one.rpartition(".")[2] for one in found.unused.names} <= {
        "position_embeddings",
        "decoder_pos_embed",
    }


@pytest.mark.slow
def test_ten_steps(tmp_path):
    check_losses(CASES[WHOLE], tmp_path, loss_of)


@pytest.mark.slow
def test_config_goes_out_as_it_came(tmp_path):
    for name, entry in CASES.items():
        check_config(entry, tmp_path / name)


def test_other_positions_are_refused(tmp_path):
    entry = CASES["ViTMAEModel"]
    tensors = random_tensors(entry["shapes"])
    tensors["embeddings.position_embeddings"] = tensors["embeddings.position_embeddings"] + 0.1
    with pytest.raises(InputError, match="position_embeddings .* would change numbers"):
        read_folder(write_folder(tmp_path, entry["config"], tensors))


@pytest.mark.parametrize(("ratio", "seen"), [(0.7, 2), (0.75, 2), (0.5, 4), (0.4, 5)])
def test_as_many_patches_are_visible_as_theirs(ratio, seen):
    """Of nine patches; their code rounds the visible ones down."""
    config = CASES[WHOLE]["config"] | {"mask_ratio": ratio}
    objective = FAMILY.objective(config, WHOLE)
    assert objective.seen(9) == int(9 * (1 - ratio)) == seen
    out = FAMILY.config(objective, ImageSpec(1, 12, 12, 3), WHOLE)
    assert int(9 * (1 - out["mask_ratio"])) == seen


def test_sizes_that_are_not_theirs_are_refused():
    config = CASES[WHOLE]["config"]
    with pytest.raises(InputError, match="images of ViT-MAE are square"):
        FAMILY.objective(config | {"image_size": [12, 16]}, WHOLE)
    with pytest.raises(InputError, match=r"mask_ratio=0\.99"):
        FAMILY.objective(config | {"mask_ratio": 0.99}, WHOLE)
    encoder = VisionTransformerConfig(vit(1, 8, 2), patch=4)
    objective = MaskedAutoencoder(encoder, vit(1, 8, 2, norm_epsilon=1e-3))
    with pytest.raises(InputError, match="norm_epsilon"):
        FAMILY.config(objective, ImageSpec(1, 12, 12, 3), WHOLE)


@pytest.mark.slow
def test_a_run_of_ours_loads_in_transformers(tmp_path):
    encoder = VisionTransformerConfig(vit(2, 8, 2), patch=4)
    objective = MaskedAutoencoder(encoder, vit(1, 12, 3))
    random = np.random.default_rng(0)
    pixels = random.normal(size=(2, 16, 16, 3)).astype(np.float32)
    noise = random.uniform(size=(2, 16)).astype(np.float32)

    def read(theirs, model):
        import torch

        order, ranks = order_of(noise)
        with torch.no_grad():
            found = theirs(
                torch.tensor(pixels.transpose(0, 3, 1, 2)), noise=torch.tensor(noise)
            ).logits
        return found, objective.predict(model, jnp.asarray(pixels), order[:, :4], ranks)

    check_own_run(objective, ImageSpec(1, 16, 16, 3), WHOLE, tmp_path, read)


@pytest.mark.slow
def test_torch_itself_computes_the_golden_numbers_and_loads_what_goes_out(tmp_path):
    check_torch("vit_mae", tmp_path)
