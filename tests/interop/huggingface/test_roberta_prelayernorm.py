"""BERT with the norm before each part goes out as RobertaPreLayerNorm and comes back the same."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.families.roberta_prelayernorm import FAMILY, HEAD
from jaxssl.interop.huggingface.folder import read_folder
from jaxssl.interop.huggingface.folder_writing import export_of, write_network
from jaxssl.interop.huggingface.tensor_files import open_tensors
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives import MaskedLM
from jaxssl.sharding.layout import path_of
from tests.tiny import tiny_spec

SPEC = tiny_spec(length=16, vocab_size=30)
ENCODER = TransformerConfig(
    depth=2,
    width=8,
    heads=2,
    mlp=12,
    max_length=16,
    norm_first=True,
    final_norm=True,
    attention_dropout=0.1,
)


def numbered(objective):
    """The objective's model, every parameter of which is another number."""
    shapes = jax.eval_shape(lambda key: objective.init(key, SPEC), jax.random.key(0))
    leaves, form = jax.tree.flatten(shapes)
    return jax.tree.unflatten(
        form,
        [
            1000 * n + np.arange(leaf.size, dtype=np.float32).reshape(leaf.shape)
            for n, leaf in enumerate(leaves)
        ],
    )


def parameters(model):
    return {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(model)}


def test_out_and_in_and_out_again(tmp_path):
    objective = MaskedLM(ENCODER)
    model, export = numbered(objective), export_of(objective, SPEC)
    assert export.architecture == "RobertaPreLayerNormForMaskedLM"
    write_network(tmp_path, export, model, ())
    found = read_folder(tmp_path)
    assert (found.missing, found.unused.names) == ((), ())
    assert found.objective == MaskedLM(dataclasses.replace(ENCODER, position_offset=1))
    ours, theirs = parameters(model), parameters(found.model)
    positions = theirs.pop("encoder/positions/embedding")
    np.testing.assert_array_equal(positions[1:], ours.pop("encoder/positions/embedding"))
    np.testing.assert_array_equal(positions[0], 0)
    assert ours.keys() == theirs.keys()
    for path, array in ours.items():
        np.testing.assert_array_equal(theirs[path], array)
    (tmp_path / "again").mkdir()
    write_network(tmp_path / "again", export_of(found.objective, SPEC), found.model, ())
    first, second = open_tensors(tmp_path), open_tensors(tmp_path / "again")
    assert first.names == second.names
    for name in first.names:
        np.testing.assert_array_equal(first.view(name), second.view(name))


@pytest.mark.parametrize(
    "changes",
    [
        {"norm_before_first": False},
        {"norm": "rms"},
        {"segment_types": 0},
        {"activation": "relu"},
        {"kv_heads": 1},
        {"positions": "rotary"},
        {"tied_head": False},
    ],
)
def test_networks_that_it_is_not(changes):
    encoder = dataclasses.replace(ENCODER, **changes)
    with pytest.raises(InputError, match="transformers has no class that computes what this"):
        export_of(MaskedLM(encoder), SPEC)


def test_padding_must_be_the_first_id():
    spec = tiny_spec(length=16, vocab_size=30)
    spec.pad = 3
    with pytest.raises(InputError, match="padding has the id 3"):
        FAMILY.config(MaskedLM(ENCODER), spec, HEAD)
