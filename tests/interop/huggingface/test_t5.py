"""T5's folders: numbers that torch has computed, and torch itself where it is installed."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.families.t5 import FAMILY
from jaxssl.interop.huggingface.folder import read_folder
from jaxssl.models.recipes import t5
from jaxssl.objectives import CausalLM, Denoising, SpanCorruption
from tests.interop.huggingface import pairs
from tests.interop.huggingface.golden_files import golden
from tests.interop.huggingface.random_folder import random_tensors, write_folder

CASES = golden("t5")
HEAD = "T5ForConditionalGeneration"


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


def test_heads_of_old_and_new_files():
    """Version 1.0 scales a tied head; 1.1 has its own, which newer files say by another field."""
    config = CASES[HEAD]["config"]
    old = {n: v for n, v in config.items() if n != "scale_decoder_outputs"}
    for fields, tied in (
        ({}, True),
        ({"tie_word_embeddings": True}, True),
        ({"tie_word_embeddings": False}, False),
        ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, False),
    ):
        decoder = FAMILY.objective(old | fields, HEAD).decoder
        assert decoder.tied_head == tied
        assert decoder.output_scale == (6**-0.5 if tied else 1.0)


def test_folders_as_they_were_published(tmp_path):
    """With the copies of the table, and with biases that no version reads."""
    entry = CASES[HEAD]
    tensors = random_tensors(entry["shapes"])
    names = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    copies = dict.fromkeys(names, tensors["shared.weight"])
    name = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    old = copies | {name: np.zeros((8, 3), np.float32)}
    found = read_folder(write_folder(tmp_path, entry["config"], tensors | old))
    assert not found.missing
    assert not found.unused.names


def test_sentinels_are_those_of_the_tokenizer():
    objective = FAMILY.objective(CASES[HEAD]["config"], HEAD)
    assert (objective.first_sentinel, objective.sentinels) == (18, 19)
    pieces = ["a", "b", "<extra_id_2>", "<extra_id_1>", "<extra_id_0>", "<pad>"]
    tokenizer = SimpleNamespace(special=np.zeros(6, bool), piece=lambda i: pieces[i])
    found = FAMILY.for_tokenizer(objective, tokenizer)
    assert (found.first_sentinel, found.sentinels) == (4, 3)
    tokenizer.piece = lambda i: "a"
    assert FAMILY.for_tokenizer(objective, tokenizer) == objective
    assert FAMILY.for_tokenizer(objective, None) == objective


@pytest.mark.parametrize(
    ("field", "value"),
    [("feed_forward_proj", "gated-relu"), ("is_encoder_decoder", False), ("d_kv", 0)],
)
def test_what_would_change_numbers_is_refused(field, value, tmp_path):
    folder = write_folder(tmp_path, CASES[HEAD]["config"] | {field: value}, {})
    with pytest.raises(InputError, match=field):
        read_folder(folder)


def pair(decoder=None, **changes):
    shape = {"positions": "relative", "attention_scale": 1.0} | changes
    encoder = t5(2, 8, 2, **shape)
    own = {"output_scale": 8**-0.5, "causal": True} | (decoder or {})
    return SpanCorruption(encoder, replace(encoder, **own))


def test_objectives_and_networks_that_t5_has_not():
    assert FAMILY.architecture(pair()) == HEAD
    spec = SimpleNamespace(vocab_size=10, pad=0, begin=2, end=1)
    assert FAMILY.config(pair(), spec, HEAD)["vocab_size"] == 10 + 128  # with sentinels above
    with pytest.raises(InputError, match="CausalLM trains no encoder with a decoder"):
        FAMILY.architecture(CausalLM(t5(2, 8, 2, causal=True)))
    sees_less = Denoising(pair().encoder, pair().decoder, bottleneck=1)
    with pytest.raises(InputError, match="bottleneck=1"):
        FAMILY.architecture(sees_less)
    for objective, said in (
        (pair(positions="rotary"), "positions='relative', and encoder.positions is 'rotary'"),
        (pair(decoder={"mlp": 7}), "the same mlp in both halves, and here are 32 and 7"),
        (pair(decoder={"output_scale": 1.0}), "tied_head=True has output_scale=0.35"),
        (pair(output_scale=2.0), "output_scale"),
    ):
        with pytest.raises(InputError, match=said):
            FAMILY.config(objective, spec, HEAD)


@pytest.mark.slow
def test_torch_itself_computes_the_golden_numbers_and_loads_what_goes_out(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.interop.huggingface.theirs.check import check_family

    check_family("t5", FAMILY, tmp_path)
