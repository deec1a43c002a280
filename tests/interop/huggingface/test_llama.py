"""Folders of Llama, Mistral and Qwen: numbers that torch has computed, and torch itself."""

from dataclasses import replace

import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.families.llama import FAMILY
from jaxssl.interop.huggingface.folder import read_folder
from jaxssl.models.layers.rotary import RotaryScaling
from jaxssl.models.recipes import modern
from jaxssl.objectives import CausalLM
from tests.interop.huggingface import decoders
from tests.interop.huggingface.golden_files import golden
from tests.interop.huggingface.random_folder import write_folder

CASES = golden("llama")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n == "LlamaForCausalLM" else pytest.mark.slow) for n in CASES],
)
def test_states_and_logits_are_those_of_torch_and_bytes_come_back(name, tmp_path):
    decoders.check_numbers(CASES[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]["losses"]])
def test_ten_steps(name, tmp_path):
    decoders.check_training(CASES[name], tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_config_goes_out_as_it_came(name, tmp_path):
    decoders.check_config(FAMILY, CASES[name], tmp_path)


LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize(
    ("fields", "base", "scaling"),
    [
        ({"rope_theta": 5e5}, 5e5, None),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, 1e6, None),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, 1e4, RotaryScaling(2.0)),
        (
            {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA3}},
            5e5,
            RotaryScaling(8.0, 8192, 1.0, 4.0),
        ),
    ],
)
def test_rotary_positions_of_old_and_new_files(fields, base, scaling):
    config = {n: v for n, v in CASES["LlamaModel"]["config"].items() if n != "rope_parameters"}
    decoder = FAMILY.objective(config | fields, "LlamaModel").decoder
    assert (decoder.rotary_base, decoder.rotary_scaling) == (base, scaling)


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("LlamaModel", {"rope_scaling": {"type": "yarn", "factor": 2.0}}, "rope_type 'yarn'"),
        ("LlamaModel", {"rope_scaling": {"rope_type": "llama3"}}, "has no factor"),
        ("LlamaModel", {"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5"),
        ("LlamaModel", {"attention_bias": True}, "attention_bias=True and mlp_bias=False"),
        ("LlamaModel", {"hidden_act": "relu"}, "hidden_act='relu'"),
        ("MistralForCausalLM", {"sliding_window": 1}, "sliding_window=1"),
        (
            "Qwen3ForCausalLM",
            {"layer_types": ["sliding_attention", "full_attention", "full_attention"]},
            r"local layers \[0\] of 3",
        ),
        ("Qwen3ForCausalLM", {"layer_types": ["full_attention", "linear"]}, "layer_types"),
    ],
)
def test_what_would_change_numbers_is_refused(name, fields, said, tmp_path):
    folder = write_folder(tmp_path, CASES[name]["config"] | fields, {})
    with pytest.raises(InputError, match=said):
        read_folder(folder)


def test_the_class_follows_from_the_network():
    decoder = modern(2, 8, 2, causal=True)
    for changes, name in (
        ({}, "LlamaForCausalLM"),
        ({"window": 4, "global_every": 0}, "MistralForCausalLM"),
        ({"qkv_bias": True}, "Qwen2ForCausalLM"),
        ({"qk_norm": True}, "Qwen3ForCausalLM"),
    ):
        assert FAMILY.architecture(CausalLM(replace(decoder, **changes))) == name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"norm": "layer"}, "Llama has networks with norm='rms', and decoder.norm is 'layer'"),
        ({"rotary_base_local": 5.0, "window": 4, "global_every": 2}, "rotary_base_local"),
        ({"window": 4, "global_every": 2}, "Mistral has no networks with global_every=2"),
        ({"attention_scale": 2.0}, "no networks with attention_scale=2.0"),
        ({"qk_norm": True, "qkv_bias": True}, "Qwen3 has no networks with bias=False and qkv_bias"),
    ],
)
def test_networks_that_it_has_not(changes, said):
    objective = CausalLM(modern(2, 8, 2, causal=True, **changes))
    with pytest.raises(InputError, match=said):
        FAMILY.config(objective, None, FAMILY.architecture(objective))


@pytest.mark.slow
def test_torch_itself_computes_the_golden_numbers_and_loads_what_goes_out(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.interop.huggingface.theirs.check import check_family

    check_family("llama", FAMILY, tmp_path)
