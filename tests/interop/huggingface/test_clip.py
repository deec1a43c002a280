"""CLIP's and SigLIP's folders: numbers that torch has computed, and torch itself where it is installed."""

from dataclasses import replace
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses as functions
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.family import family_of
from jaxssl.losses.unit_vectors import to_unit
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.layers.pooling import pool_pieces
from jaxssl.pretrained.texts import caption_embedder
from tests.interop.huggingface.golden_files import arrays, golden, imported
from tests.interop.huggingface.image_folders import (
    check_config,
    check_losses,
    check_outputs,
    check_torch,
)

CASES = golden("clip") | golden("siglip")
BEGIN, PAD = 17, 1


def segments_for(found, tokens):
    if found.objective.reads_padding:
        return jnp.ones_like(tokens)
    return segments_of(tokens, BEGIN, PAD)


def embeddings(found, model, inputs):
    tokens = jnp.asarray(inputs["tokens"])
    segments = segments_for(found, tokens)
    pooled = pool_pieces(
        model.text(tokens, segments), segments, pieces=1, pooling=found.objective.pooling
    )
    images = model.project_images(model.encoder(inputs["pixels"])[0])
    return to_unit(images), to_unit(model.text_projection(pooled[:, 0]))


def outputs(found, inputs):
    model, tokens = found.model, jnp.asarray(inputs["tokens"])
    segments = segments_for(found, tokens)
    images, texts = embeddings(found, model, inputs)
    logits = images @ texts.T * jnp.exp(model.logit_scale[...])[None, None]
    if model.logit_bias is not None:
        logits = logits + model.logit_bias[...][None, None]
    states = model.text.hidden_states(tokens, segments)
    return {
        "image states": model.encoder.hidden_states(inputs["pixels"]),
        "text states": jnp.where((segments != 0)[None, :, :, None], states, 0),
        "images": images,
        "texts": texts,
        "logits": logits,
    }


def loss_of(found, inputs):
    def loss(model):
        images, texts = embeddings(found, model, inputs)
        temperature = found.objective.temperature_of(model)
        if found.objective.kind == "clip":
            return functions.info_nce(images, texts, temperature=temperature)
        return functions.sigmoid_contrastive(
            images, texts, temperature=temperature, bias=model.logit_bias[...]
        )

    return loss


@pytest.mark.parametrize("name", ["CLIPModel", pytest.param("SiglipModel", marks=pytest.mark.slow)])
def test_both_towers_are_those_of_torch_and_bytes_come_back(name, tmp_path):
    found = check_outputs(CASES[name], tmp_path, outputs)
    assert not found.unused.names
    assert found.spec.captions.length == found.objective.text.max_length


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_ten_steps(name, tmp_path):
    check_losses(CASES[name], tmp_path, loss_of)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_config_goes_out_as_it_came(name, tmp_path):
    check_config(CASES[name], tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_what_would_change_numbers_is_refused(name):
    config = CASES[name]["config"]
    family, vision = family_of(config), config["vision_config"]
    with pytest.raises(InputError, match="CLIPVisionModel; of this family folders of"):
        family.objective(config, "CLIPVisionModel")
    with pytest.raises(InputError, match="vision_config=3; it must be a JSON object"):
        family.objective(config | {"vision_config": 3}, name)
    with pytest.raises(InputError, match="hidden_act"):
        family.objective(config | {"vision_config": vision | {"hidden_act": "mish"}}, name)


def test_networks_of_siglip_alone_are_refused():
    config = CASES["SiglipModel"]["config"]
    vision, text = config["vision_config"], config["text_config"]
    family = family_of(config)
    with pytest.raises(InputError, match="vision_use_head"):
        family.objective(
            config | {"vision_config": vision | {"vision_use_head": False}}, "SiglipModel"
        )
    with pytest.raises(InputError, match=r"projection_size=4 .* must have one width"):
        family.objective(config | {"text_config": text | {"projection_size": 4}}, "SiglipModel")


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_networks_that_the_family_cannot_express_are_refused(name, tmp_path):
    found, family = imported(CASES[name], tmp_path), family_of(CASES[name]["config"])
    other = replace(found.objective, pooling="mean")
    with pytest.raises(InputError, match="pooling='last', and the objective of this run"):
        family.config(other, found.spec, name)
    causal = replace(found.objective.text, causal=not found.objective.text.causal)
    with pytest.raises(InputError, match="causal"):
        family.config(replace(found.objective, text=causal), found.spec, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_captions_are_embedded_one_by_one_as_in_a_batch_of_the_objective(name, tmp_path):
    """Texts in packed rows, with padding that is read or not."""
    found, inputs = imported(CASES[name], tmp_path), arrays(CASES[name]["inputs"])
    limit = found.objective.text.max_length
    ids = [row[row != PAD][(name == "CLIPModel") : -1] for row in inputs["tokens"]]
    roles = {"pad": PAD, "begin": BEGIN, "end": 18, "with_row": lambda id, rows: id}
    tokenizer = SimpleNamespace(encode=lambda texts: ids, **roles)
    pretrained = SimpleNamespace(
        objective=found.objective, model=found.model, spec=found.spec, tokenizer=tokenizer
    )
    embed = caption_embedder("a run", pretrained)
    before = (BEGIN,) if name == "CLIPModel" else ()
    embed = replace(embed, around=(before, (18,)), max_length=limit)
    texts = found.model.text_projection(jnp.asarray(embed(["a", "b", "c"])))
    wanted = embeddings(found, found.model, inputs)[1]
    np.testing.assert_allclose(to_unit(texts), wanted, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_torch_itself_computes_the_golden_numbers_and_loads_what_goes_out(family, tmp_path):
    check_torch(family, tmp_path)
