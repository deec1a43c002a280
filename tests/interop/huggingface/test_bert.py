"""What is special in BERT's folders (test_encoders.py has what all have)."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.families.bert import FAMILY
from jaxssl.interop.huggingface.folder import read_folder
from tests.interop.huggingface.golden_files import check_round_trip, golden, imported, written
from tests.interop.huggingface.random_folder import random_tensors, write_folder

CASES = golden("bert")


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


def test_networks_that_bert_cannot_express_are_refused(tmp_path):
    found = imported(CASES["BertModel"], tmp_path)
    for changes in ({"norm_first": True}, {"segment_types": 0}, {"bias": False}, {"kv_heads": 1}):
        encoder = replace(found.objective.encoder, **changes)
        with pytest.raises(InputError, match="BERT"):
            FAMILY.config(replace(found.objective, encoder=encoder), found.spec, "BertForMaskedLM")
