"""Layer by layer the states of Hugging Face's models with the same weights. Skips without torch."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.plain import from_dict
from jaxssl.models.recipes import bert, gpt2, modern, modernbert
from tests.models.small_models import VOCABULARY

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LENGTHS = (12, 7)
TOKENS = np.random.default_rng(0).integers(5, VOCABULARY, (2, 12))
REAL = np.arange(12)[None] < np.array(LENGTHS)[:, None]
TYPES = (np.arange(12)[None] >= np.array([[5], [3]])).astype(int)
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "vocab_size": VOCABULARY}


def dense(weights, name, order="out in"):
    """A linear layer; GPT-2 keeps its kernels as [in, out]."""
    kernel = weights[f"{name}.weight"]
    found = {"kernel": kernel.T if order == "out in" else kernel}
    return found | ({"bias": weights[f"{name}.bias"]} if f"{name}.bias" in weights else {})


def norm(weights, name):
    found = {"scale": weights[f"{name}.weight"]}
    return found | ({"bias": weights[f"{name}.bias"]} if f"{name}.bias" in weights else {})


def from_bert(w, depth):
    def layer(name):
        parts = ("query", "key", "value")
        return {
            "attention": {part: dense(w, f"{name}.attention.self.{part}") for part in parts}
            | {"output": dense(w, f"{name}.attention.output.dense")},
            "attention_norm": norm(w, f"{name}.attention.output.LayerNorm"),
            "mlp": {
                "up": dense(w, f"{name}.intermediate.dense"),
                "down": dense(w, f"{name}.output.dense"),
            },
            "mlp_norm": norm(w, f"{name}.output.LayerNorm"),
        }

    tables = {"tokens": "word", "positions": "position", "types": "token_type"}
    return {
        ours: {"embedding": w[f"embeddings.{its}_embeddings.weight"]}
        for ours, its in tables.items()
    } | {
        "embedding_norm": norm(w, "embeddings.LayerNorm"),
        "layers": [layer(f"encoder.layer.{i}") for i in range(depth)],
    }


def from_electra(w, depth):
    return from_bert(w, depth) | {"widen": dense(w, "embeddings_project")}


def from_gpt2(w, depth):
    def layer(name):
        joint = dense(w, f"{name}.attn.c_attn", "in out")
        parts = {part: np.split(x, 3, axis=-1) for part, x in joint.items()}
        return {
            "attention": {
                its: {part: x[i] for part, x in parts.items()}
                for i, its in enumerate(("query", "key", "value"))
            }
            | {"output": dense(w, f"{name}.attn.c_proj", "in out")},
            "attention_norm": norm(w, f"{name}.ln_1"),
            "mlp": {
                "up": dense(w, f"{name}.mlp.c_fc", "in out"),
                "down": dense(w, f"{name}.mlp.c_proj", "in out"),
            },
            "mlp_norm": norm(w, f"{name}.ln_2"),
        }

    return {
        "tokens": {"embedding": w["wte.weight"]},
        "positions": {"embedding": w["wpe.weight"]},
        "layers": [layer(f"h.{i}") for i in range(depth)],
        "final_norm": norm(w, "ln_f"),
    }


def from_modernbert(w, depth):
    def layer(i):
        name = f"layers.{i}"
        query, key, value = np.split(w[f"{name}.attn.Wqkv.weight"], 3)
        gate, up = np.split(w[f"{name}.mlp.Wi.weight"], 2)
        first = {"scale": np.ones(len(query), np.float32)}  # the first layer has none
        return {
            "attention": {
                "query": {"kernel": query.T},
                "key": {"kernel": key.T},
                "value": {"kernel": value.T},
                "output": dense(w, f"{name}.attn.Wo"),
            },
            "attention_norm": norm(w, f"{name}.attn_norm") if i else first,
            "mlp": {
                "gate": {"kernel": gate.T},
                "up": {"kernel": up.T},
                "down": dense(w, f"{name}.mlp.Wo"),
            },
            "mlp_norm": norm(w, f"{name}.mlp_norm"),
        }

    return {
        "tokens": {"embedding": w["embeddings.tok_embeddings.weight"]},
        "embedding_norm": norm(w, "embeddings.norm"),
        "layers": [layer(i) for i in range(depth)],
        "final_norm": norm(w, "final_norm"),
    }


def from_llama(w, depth):
    def layer(name):
        ours = {"query": "q", "key": "k", "value": "v", "output": "o"}
        return {
            "attention": {
                part: dense(w, f"{name}.self_attn.{its}_proj") for part, its in ours.items()
            },
            "attention_norm": norm(w, f"{name}.input_layernorm"),
            "mlp": {part: dense(w, f"{name}.mlp.{part}_proj") for part in ("gate", "up", "down")},
            "mlp_norm": norm(w, f"{name}.post_attention_layernorm"),
        }

    return {
        "tokens": {"embedding": w["embed_tokens.weight"]},
        "layers": [layer(f"layers.{i}") for i in range(depth)],
        "final_norm": norm(w, "norm"),
    }


def bert_model():
    config = transformers.BertConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=16,
        **IDS,
    )
    model = transformers.BertModel(config, add_pooling_layer=False)
    return model, from_bert, bert(3, 16, 4, max_length=16)


def electra_model():
    """Embeddings of another width than the states."""
    config = transformers.ElectraConfig(
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=16,
        **IDS,
    )
    ours = bert(3, 16, 4, embedding_width=8, max_length=16)
    return transformers.ElectraModel(config), from_electra, ours


def gpt2_model():
    config = transformers.GPT2Config(n_embd=16, n_layer=3, n_head=4, n_positions=16, **IDS)
    return transformers.GPT2Model(config), from_gpt2, gpt2(3, 16, 4, max_length=16)


def modernbert_model():
    config = transformers.ModernBertConfig(
        hidden_size=16,
        num_hidden_layers=5,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        local_attention=4,
        cls_token_id=1,
        sep_token_id=1,
        **IDS,
    )
    ours = modernbert(5, 16, 2, max_length=16, window=2)
    return transformers.ModernBertModel(config), from_modernbert, ours


def llama_model():
    config = transformers.LlamaConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        rms_norm_eps=1e-6,
        **IDS,
    )
    ours = modern(3, 16, 4, kv_heads=2, mlp=24, max_length=16, causal=True)
    return transformers.LlamaModel(config), from_llama, ours


@pytest.mark.parametrize(
    "make", [bert_model, electra_model, gpt2_model, modernbert_model, llama_model]
)
def test_states_of_every_layer(make):
    theirs, convert, config = make()
    theirs.eval()
    random = np.random.default_rng(1)
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            middle = 1.0 if weight.ndim == 1 and name.endswith("weight") else 0.0
            weight.copy_(torch.tensor(random.normal(middle, 0.2, weight.shape)))
        types = {"token_type_ids": torch.tensor(TYPES)} if config.segment_types else {}
        out = theirs(
            torch.tensor(TOKENS),
            attention_mask=torch.tensor(REAL.astype(int)),
            output_hidden_states=True,
            **types,
        )
    weights = {name: weight.detach().numpy() for name, weight in theirs.named_parameters()}
    nested = convert(weights, config.depth)
    for depth in range(1, config.depth + 1):
        whole = depth == config.depth
        shallow = replace(config, depth=depth, final_norm=config.final_norm and whole)
        expected = out.last_hidden_state if whole else out.hidden_states[depth]
        ours = states(shallow, nested)
        np.testing.assert_allclose(ours[REAL], expected.numpy()[REAL], atol=1e-5, rtol=1e-5)


def states(config, nested: dict[str, Any]):
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *nested["layers"][: config.depth])
    template = jax.eval_shape(lambda key: config.make(key, VOCABULARY), jax.random.key(0))
    unused = () if config.final_norm else ("final_norm",)
    kept = {name: value for name, value in nested.items() if name not in unused}
    model = from_dict(template, kept | {"layers": stacked})
    types = jnp.asarray(TYPES) if config.segment_types else None
    return np.asarray(model(jnp.asarray(TOKENS), jnp.asarray(REAL.astype(int)), types=types))
