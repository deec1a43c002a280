"""GPT-2's folders: numbers that torch has computed, and torch itself where it is installed."""

from dataclasses import replace

import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.families.gpt2 import FAMILY
from jaxssl.interop.huggingface.folder import read_folder
from jaxssl.models.recipes import gpt2
from jaxssl.objectives import CausalLM, MaskedLM
from tests.interop.huggingface import decoders
from tests.interop.huggingface.golden_files import golden
from tests.interop.huggingface.random_folder import random_tensors, write_folder

CASES = golden("gpt2")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n == "GPT2LMHeadModel" else pytest.mark.slow) for n in CASES],
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


def test_folders_as_they_were_published(tmp_path):
    """Without the prefix, with the causal masks, and with a copy of the table as the head."""
    entry = CASES["GPT2LMHeadModel"]
    tensors = random_tensors(entry["shapes"])
    old = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    masks = {f"h.{i}.attn.bias": np.ones((1, 1, 9, 9), np.float32) for i in range(2)}
    copy = {"lm_head.weight": tensors["transformer.wte.weight"]}
    found = read_folder(write_folder(tmp_path, entry["config"], old | masks | copy))
    assert not found.missing
    assert not found.unused.names


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scale_attn_by_inverse_layer_idx", True),
        ("add_cross_attention", True),
        ("activation_function", "gelu_10"),
        ("n_embd", "6"),
    ],
)
def test_what_would_change_numbers_is_refused(field, value, tmp_path):
    folder = write_folder(tmp_path, CASES["GPT2Model"]["config"] | {field: value}, {})
    with pytest.raises(InputError, match=field):
        read_folder(folder)


def test_objectives_and_networks_that_gpt2_has_not():
    decoder = gpt2(2, 8, 2)
    assert FAMILY.architecture(CausalLM(decoder)) == "GPT2LMHeadModel"
    with pytest.raises(InputError, match="prefix=True"):
        FAMILY.architecture(CausalLM(decoder, prefix=True))
    with pytest.raises(InputError, match="MaskedLM trains no causal language model"):
        FAMILY.architecture(MaskedLM(gpt2(2, 8, 2, causal=False)))
    for changes in ({"norm_first": False}, {"kv_heads": 1}, {"bias": False}, {"head_width": 8}):
        changed = CausalLM(replace(decoder, **changes))
        with pytest.raises(InputError, match="GPT-2"):
            FAMILY.config(changed, None, "GPT2LMHeadModel")


@pytest.mark.slow
def test_torch_itself_computes_the_golden_numbers_and_loads_what_goes_out(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.interop.huggingface.theirs.check import check_family

    check_family("gpt2", FAMILY, tmp_path)
