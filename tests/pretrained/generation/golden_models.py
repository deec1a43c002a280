"""Small GPT-2 and Llama with random weights, in ours and in torch; prompts whose texts are compared.

`python -m tests.pretrained.generation.golden_models` writes golden.json, where torch and transformers are.
"""

import json
from pathlib import Path

import numpy as np

from jaxssl.models.plain import to_dict
from jaxssl.models.pretraining.causal_language_model import CausalLanguageModel
from jaxssl.models.recipes import gpt2, modern
from tests.models.small_models import filled

GOLDEN = Path(__file__).with_name("golden.json")
VOCABULARY, LIMIT = 23, 12
# Tokens that these networks write often; as end tokens they end about half of the texts.
ENDS = {"gpt2": 22, "llama": 20}
SHAPE = {"depth": 2, "width": 16, "heads": 4, "max_length": 32}
CONFIGS = {
    "gpt2": gpt2(**SHAPE),
    "llama": modern(**SHAPE, kv_heads=2, mlp=24, causal=True, tied_head=False, norm_epsilon=1e-6),
}
PROMPTS = [np.array(ids, np.int32) for ids in ([5, 9, 4], [7, 6, 11, 20, 13], [8, 21])]
# Beams, length penalty, early stopping.
SEARCHES = [
    (beams, penalty, early)
    for beams in (2, 4)
    for penalty in (1.0, 0.0, -1.0, 2.0)
    for early in (False, True, "never")
]


def ours(name: str, seed: int) -> CausalLanguageModel:
    return filled(lambda key: CausalLanguageModel(key, CONFIGS[name], VOCABULARY), seed)


def theirs(name: str, model: CausalLanguageModel):
    """The network of transformers with the same parameters."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    tokens = {"vocab_size": VOCABULARY, "eos_token_id": ENDS[name], "pad_token_id": 0}
    if name == "gpt2":
        config = GPT2Config(n_positions=32, n_embd=16, n_layer=2, n_head=4, **tokens)
        return _loaded(GPT2LMHeadModel(config), _gpt2(to_dict(model)["decoder"]))
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        **tokens,
    )
    return _loaded(LlamaForCausalLM(config), _llama(to_dict(model)))


def texts_of_theirs(network, **options) -> list[list[int]]:
    """What transformers writes behind each prompt, up to the end token."""
    import torch

    longest = max(map(len, PROMPTS))
    ids = torch.zeros(len(PROMPTS), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(PROMPTS):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    found = network.generate(
        ids, attention_mask=mask, max_new_tokens=LIMIT, do_sample=False, **options
    )
    end = network.config.eos_token_id
    return [until_end(row.tolist(), end) for row in found[:, longest:]]


def until_end(tokens: list[int], end: int) -> list[int]:
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


def searched_by_theirs(network, search) -> list[list[int]]:
    beams, penalty, early = search
    return texts_of_theirs(network, num_beams=beams, length_penalty=penalty, early_stopping=early)


def _loaded(network, tensors):
    import torch

    state = {name: torch.tensor(np.array(value)) for name, value in tensors.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}  # tied
    network.tie_weights()
    return network.eval()


def _gpt2(decoder):
    layers = decoder["layers"]
    attention = layers["attention"]
    tensors = {
        "transformer.wte.weight": decoder["tokens"]["embedding"],
        "transformer.wpe.weight": decoder["positions"]["embedding"],
        "transformer.ln_f.weight": decoder["final_norm"]["scale"],
        "transformer.ln_f.bias": decoder["final_norm"]["bias"],
    }
    for i in range(2):
        for kind, part in (("weight", "kernel"), ("bias", "bias")):
            fused = [attention[one][part][i] for one in ("query", "key", "value")]
            tensors |= {
                f"transformer.h.{i}.attn.c_attn.{kind}": np.concatenate(fused, axis=-1),
                f"transformer.h.{i}.attn.c_proj.{kind}": attention["output"][part][i],
                f"transformer.h.{i}.mlp.c_fc.{kind}": layers["mlp"]["up"][part][i],
                f"transformer.h.{i}.mlp.c_proj.{kind}": layers["mlp"]["down"][part][i],
            }
        for kind, part in (("weight", "scale"), ("bias", "bias")):
            tensors[f"transformer.h.{i}.ln_1.{kind}"] = layers["attention_norm"][part][i]
            tensors[f"transformer.h.{i}.ln_2.{kind}"] = layers["mlp_norm"][part][i]
    return tensors


def _llama(model):
    decoder = model["decoder"]
    layers = decoder["layers"]
    tensors = {
        "lm_head.weight": model["output_kernel"],
        "model.embed_tokens.weight": decoder["tokens"]["embedding"],
        "model.norm.weight": decoder["final_norm"]["scale"],
    }
    for i in range(2):
        names = {"q": "query", "k": "key", "v": "value", "o": "output"}
        for their, our in names.items():
            kernel = np.asarray(layers["attention"][our]["kernel"][i])
            tensors[f"model.layers.{i}.self_attn.{their}_proj.weight"] = kernel.T
        for part in ("up", "gate", "down"):
            kernel = np.asarray(layers["mlp"][part]["kernel"][i])
            tensors[f"model.layers.{i}.mlp.{part}_proj.weight"] = kernel.T
        tensors[f"model.layers.{i}.input_layernorm.weight"] = layers["attention_norm"]["scale"][i]
        tensors[f"model.layers.{i}.post_attention_layernorm.weight"] = layers["mlp_norm"]["scale"][
            i
        ]
    return tensors


def write_golden() -> None:
    golden = {}
    for name in CONFIGS:
        network = theirs(name, ours(name, seed=0))
        golden[name] = {
            "greedy": texts_of_theirs(network),
            "searched": [searched_by_theirs(network, search) for search in SEARCHES],
        }
    GOLDEN.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    write_golden()
