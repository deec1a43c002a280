"""BART's folders: numbers that torch has computed, and torch itself where it is installed."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.families.bart import FAMILY
from jaxssl.interop.huggingface.folder import read_folder
from jaxssl.interop.huggingface.rules import write_parameters
from jaxssl.models.encoder_decoder import EncoderDecoder
from jaxssl.models.recipes import bart
from jaxssl.objectives import Denoising
from tests.interop.huggingface import pairs
from tests.interop.huggingface.golden_files import golden
from tests.interop.huggingface.random_folder import random_tensors, write_folder

CASES = golden("bart")
HEAD = "BartForConditionalGeneration"


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == HEAD else pytest.mark.slow) for n in CASES]
)
def test_states_and_logits_are_those_of_torch_and_bytes_come_back(name, tmp_path):
    pairs.check_numbers(CASES[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]["losses"]])
def test_ten_steps(name, tmp_path):
    pairs.check_training(CASES[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_config_goes_out_as_it_came(name, tmp_path):
    pairs.check_config(FAMILY, CASES[name], tmp_path)


def test_a_bias_of_logits_that_is_not_zero_is_refused(tmp_path):
    entry = CASES[HEAD]
    tensors = random_tensors(entry["shapes"])
    tensors["final_logits_bias"] = np.eye(1, 19, dtype=np.float32)
    with pytest.raises(InputError, match="final_logits_bias of .* other than 0"):
        read_folder(write_folder(tmp_path, entry["config"], tensors))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tie_word_embeddings", False),
        ("normalize_before", True),
        ("activation_function", "tanh"),
        ("encoder_layers", 0),
    ],
)
def test_what_would_change_numbers_is_refused(field, value, tmp_path):
    folder = write_folder(tmp_path, CASES[HEAD]["config"] | {field: value}, {})
    with pytest.raises(InputError, match=field):
        read_folder(folder)


def pair(decoder=None, **changes):
    encoder = bart(2, 8, 2, max_length=5, **changes)
    return Denoising(encoder, replace(encoder, causal=True, **(decoder or {})))


@pytest.mark.slow
def test_tables_without_rows_before_the_first_position_get_them():
    """Networks of our recipe go out, with rows that no token reads, and come back with these."""
    objective = pair()
    rules = FAMILY.rules(objective, HEAD)
    model = EncoderDecoder(jax.random.key(0), objective.encoder, objective.decoder, 11)
    tensors = dict(write_parameters(rules, model))
    table = tensors["model.decoder.embed_positions.weight"]
    assert table.shape == (7, 8)
    np.testing.assert_array_equal(table[:2], 0)
    np.testing.assert_array_equal(table[2:], model.decoder.positions.embedding[...])
    np.testing.assert_array_equal(tensors["final_logits_bias"], np.zeros((1, 11)))


def test_networks_that_bart_has_not():
    spec = SimpleNamespace(vocab_size=10, pad=0, begin=2, end=1)
    assert FAMILY.config(pair(), spec, HEAD)["scale_embedding"] is False
    scaled = pair(embedding_scale=8**0.5)
    assert FAMILY.config(scaled, spec, HEAD)["scale_embedding"] is True
    for objective, said in (
        (pair(norm_first=True), "norm_first=false, and encoder.norm_first is true"),
        (pair(embedding_scale=2.0), "encoder.embedding_scale is 2.0"),
        (pair(decoder={"tied_head": False}), "decoder.tied_head is false"),
        (pair(decoder={"max_length": 9}), "one max_length, and here are 5 and 9"),
        (pair(norm_epsilon=1e-6), "norm_epsilon=1e-05"),
    ):
        with pytest.raises(InputError, match=said):
            FAMILY.config(objective, spec, HEAD)


@pytest.mark.slow
def test_torch_itself_computes_the_golden_numbers_and_loads_what_goes_out(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.interop.huggingface.theirs.check import check_family

    check_family("bart", FAMILY, tmp_path)
