"""BERT's folders: numbers that torch has computed, and torch itself where it is installed."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.families.bert import FAMILY
from jaxssl.interop.huggingface.folder import read_folder
from tests.interop.huggingface.golden_files import (
    arrays,
    check_round_trip,
    golden,
    imported,
    losses,
    written,
)
from tests.interop.huggingface.random_folder import random_tensors, write_folder

CASES = golden("bert")


def outputs(found, inputs):
    """What theirs/bert.py computes, by our network."""
    model, real = found.model, inputs["segments"] != 0
    states = model.encoder.hidden_states(
        inputs["tokens"], inputs["segments"], types=inputs["types"]
    )
    results = {"states": jnp.where(real[None, :, :, None], states, 0)}
    if found.architecture != "BertModel":
        logits = model.token_head(states[-1]) @ model.output_embedding().T
        logits = logits + model.output_bias[...][None, None]
        results["logits"] = jnp.where(real[:, :, None], logits, 0)
    if found.architecture == "BertForPreTraining":
        results["pairs"] = model.pair_head(states[-1][:, 0])
    return results


def loss_of(found, inputs):
    rows = np.arange(len(inputs["tokens"]))[:, None]

    def loss(model):
        states = model.encoder(inputs["tokens"], inputs["segments"], types=inputs["types"])
        logits = model.token_head(states[rows, inputs["masked"]]) @ model.output_embedding().T
        logits = logits + model.output_bias[...][None, None]
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, inputs["targets"])
        value = nats.mean()
        if found.architecture == "BertForPreTraining":
            pairs = model.pair_head(states[:, 0])
            labels = inputs["labels"]
            value += optax.softmax_cross_entropy_with_integer_labels(pairs, labels).mean()
        return value

    return loss


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "BertForPreTraining" else pytest.mark.slow)
        for name in CASES
    ],
)
def test_states_and_logits_are_those_of_torch_and_bytes_come_back(name, tmp_path):
    entry = CASES[name]
    found = imported(entry, tmp_path)
    inputs, wanted = arrays(entry["inputs"]), arrays(entry["outputs"])
    ours = jax.jit(lambda model: outputs(replace(found, model=model), inputs))(found.model)
    assert ours.keys() == wanted.keys()
    for part, value in wanted.items():
        np.testing.assert_allclose(ours[part], value, atol=1e-5, rtol=0)
    if name == "BertModel":
        assert set(found.unused.names) == {"pooler.dense.weight", "pooler.dense.bias"}
        found = replace(found, missing=())
    check_round_trip(entry, found)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]["losses"]])
def test_ten_steps_of_every_head(name, tmp_path):
    entry = CASES[name]
    found = imported(entry, tmp_path)
    ours = losses(found, loss_of(found, arrays(entry["inputs"])))
    np.testing.assert_allclose(ours, entry["losses"], atol=1e-4, rtol=0)
    assert ours[-1] < ours[0] - 0.1


def test_a_tied_model_without_its_head_is_completed_and_says_what_is_missing(tmp_path):
    entry = CASES["BertForMaskedLM"]
    tensors = random_tensors(entry["shapes"])
    kept = {name: tensor for name, tensor in tensors.items() if "transform" not in name}
    found = read_folder(write_folder(tmp_path, entry["config"], kept))
    prefix = "cls.predictions.transform"
    assert set(found.missing) == {
        f"{prefix}.{part}"
        for part in ("dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias")
    }
    np.testing.assert_array_equal(found.model.transform_norm.scale[...], 1.0)
    assert float(jnp.std(found.model.transform.kernel[...])) > 0


def test_old_names_other_prefixes_and_tied_copies_are_understood(tmp_path):
    entry = CASES["BertForMaskedLM"]
    tensors = random_tensors(entry["shapes"])
    old = {}
    for name, tensor in tensors.items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        old["module." + name.replace("LayerNorm.bias", "LayerNorm.beta").removeprefix("bert.")] = (
            tensor
        )
    old["module.cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    old["module.cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
    old["bert.embeddings.position_ids"] = np.arange(9)[None]
    found = read_folder(write_folder(tmp_path, entry["config"], old))
    assert not found.missing
    assert not found.unused.names
    goes = written(found)
    assert goes.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(goes[name], tensor)


def test_half_precision_goes_out_as_it_came(tmp_path):
    entry = json.loads(json.dumps(CASES["BertForMaskedLM"]))
    for dtype in ("BF16", "F16"):
        entry["shapes"] = {name: [dtype, shape] for name, (_, shape) in entry["shapes"].items()}
        found = imported(entry, tmp_path / dtype)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(found.model)} == {"float32"}
        check_round_trip(entry, found)


def test_what_would_change_numbers_is_refused(tmp_path):
    entry = CASES["BertModel"]
    for field, value in {
        "is_decoder": True,
        "position_embedding_type": "relative_key",
        "hidden_act": "gelu_10",
        "hidden_size": "6",
        "num_attention_heads": 4,
        "layer_norm_eps": -1,
    }.items():
        folder = write_folder(tmp_path, entry["config"] | {field: value}, {})
        with pytest.raises(
            InputError, match=field if field != "num_attention_heads" else "heads=4"
        ):
            read_folder(folder)


def test_config_goes_out_as_it_came(tmp_path):
    for name in CASES:
        entry = CASES[name]
        found = imported(entry, tmp_path / name)
        out = FAMILY.config(found.objective, found.spec, found.architecture)
        again = FAMILY.objective(out, found.architecture)
        assert again == found.objective
        assert FAMILY.architecture(found.objective) == found.architecture or name == "BertModel"
        for field in ("vocab_size", "hidden_size", "num_hidden_layers", "hidden_act"):
            assert out[field] == entry["config"].get(field, out[field])


def test_networks_that_bert_cannot_express_are_refused(tmp_path):
    found = imported(CASES["BertModel"], tmp_path)
    for changes in ({"norm_first": True}, {"segment_types": 0}, {"bias": False}, {"kv_heads": 1}):
        encoder = replace(found.objective.encoder, **changes)
        with pytest.raises(InputError, match="BERT"):
            FAMILY.config(replace(found.objective, encoder=encoder), found.spec, "BertForMaskedLM")


@pytest.mark.slow
def test_torch_itself_computes_the_golden_numbers_and_loads_what_goes_out(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.interop.huggingface.theirs import bert, case

    for name, one in bert.CASES.items():
        entry = case.record(one)
        assert entry["shapes"] == CASES[name]["shapes"]
        assert entry["config"] == CASES[name]["config"]
        for part, value in entry["outputs"].items():
            np.testing.assert_allclose(value, CASES[name]["outputs"][part], atol=1e-5)
        np.testing.assert_allclose(entry["losses"], CASES[name]["losses"], atol=1e-4)
        found = imported(CASES[name], tmp_path / name / "in")
        config = FAMILY.config(found.objective, found.spec, found.architecture)
        folder = write_folder(tmp_path / name / "out", config, written(found))
        case.reloaded(folder, found.architecture)
