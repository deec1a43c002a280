"""Decoders with Llama's layers: Llama (1 to 3), Mistral, Qwen 2 and Qwen 3, as …Model or …ForCausalLM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jaxssl.data.stores.json_types import short
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import chosen, flag, real, whole
from jaxssl.interop.huggingface.families.bert import dense, norm
from jaxssl.interop.huggingface.families.gpt2 import check_causal
from jaxssl.interop.huggingface.families.rotary_fields import rotary_fields, their_rotary_fields
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.network_check import check_network, plain
from jaxssl.interop.huggingface.rules import Rule
from jaxssl.models.recipes import modern
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.causal_lm import CausalLM

NAMES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
Gated = Literal["swiglu", "geglu", "geglu_tanh"]
ACTIVATIONS: dict[str, Gated] = {
    "silu": "swiglu",
    "swish": "swiglu",
    "gelu": "geglu",
    "gelu_new": "geglu_tanh",
    "gelu_pytorch_tanh": "geglu_tanh",
}
THEIR_ACTIVATIONS = {"swiglu": "silu", "geglu": "gelu", "geglu_tanh": "gelu_pytorch_tanh"}
FREE = (
    *("depth", "width", "heads", "kv_heads", "head_width", "mlp", "max_length", "norm_epsilon"),
    *("activation", "attention_scale", "tied_head", "rotary_base", "rotary_scaling"),
    *("bias", "qkv_bias", "qk_norm", "window", "global_every"),
)
# Dense layer of theirs -> ours, below a layer; the norms
ATTENTION_PARTS = {
    "self_attn.q_proj": "attention/query",
    "self_attn.k_proj": "attention/key",
    "self_attn.v_proj": "attention/value",
}
OTHER_PARTS = {
    "self_attn.o_proj": "attention/output",
    "mlp.gate_proj": "mlp/gate",
    "mlp.up_proj": "mlp/up",
    "mlp.down_proj": "mlp/down",
}
LAYER_NORMS = {"input_layernorm": "attention_norm", "post_attention_layernorm": "mlp_norm"}
HEAD_NORMS = {"self_attn.q_norm": "attention/query_norm", "self_attn.k_norm": "attention/key_norm"}


@dataclass(frozen=True)
class Llama(Family):
    """Folders with one of the model_types of `NAMES`."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> CausalLM:
        """Returns causal LM with the network of `config`, whatever the `architecture`."""
        kind, depth = str(config.get("model_type")), whole(config, "num_hidden_layers", 32)
        heads = whole(config, "num_attention_heads", 32)
        their_kv_heads = {"llama": heads, "mistral": 8}.get(kind, 32)
        head_width = config.get("head_dim", 128 if kind == "qwen3" else None)
        decoder = modern(
            depth,
            whole(config, "hidden_size", 4096),
            heads,
            causal=True,
            kv_heads=_or_default(config, "num_key_value_heads", heads, their_kv_heads),
            head_width=None if head_width is None else whole(config, "head_dim", head_width),
            mlp=whole(config, "intermediate_size"),
            max_length=whole(config, "max_position_embeddings"),
            norm_epsilon=real(config, "rms_norm_eps", 1e-6),
            activation=chosen(config, "hidden_act", ACTIVATIONS, "silu"),
            qk_norm=kind == "qwen3",
            attention_dropout=real(config, "attention_dropout", 0.0),
            initializer_range=real(config, "initializer_range", 0.02),
            scale_residual=False,
            tied_head=flag(config, "tie_word_embeddings", False),
            **_biases(config, kind),
            **rotary_fields(config),
            **_windows(config, kind, depth),
        )
        return CausalLM(decoder)

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of the `objective`'s model for an `architecture`."""
        decoder = objective.decoder
        prefix = "" if architecture in _bare() else "model."
        layer, ours = f"{prefix}layers.{{layer}}.", "decoder/layers/"
        tokens = ("decoder/tokens/embedding",)
        rules = [Rule(f"{prefix}embed_tokens.weight", tokens, aliases=_aliases(decoder))]
        own = decoder.bias if decoder.qkv_bias is None else decoder.qkv_bias
        for theirs, part in ATTENTION_PARTS.items():
            rules += dense(f"{layer}{theirs}", f"{ours}{part}", bias=own)
        for theirs, part in OTHER_PARTS.items():
            rules += dense(f"{layer}{theirs}", f"{ours}{part}", bias=decoder.bias)
        for theirs, part in (LAYER_NORMS | (HEAD_NORMS if decoder.qk_norm else {})).items():
            rules += norm(f"{layer}{theirs}", f"{ours}{part}", bias=False)
        rules += norm(f"{prefix}norm", "decoder/final_norm", bias=False)
        if not decoder.tied_head and architecture.endswith("ForCausalLM"):
            rules.append(Rule("lm_head.weight", ("output_kernel",)))
        return rules

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on texts as in `spec`, for an `architecture`."""
        decoder: TransformerConfig = objective.decoder
        kind = next((k for k, name in NAMES.items() if architecture.startswith(name)), "llama")
        check_network(decoder, modern(causal=True), "Llama", *FREE, field="decoder")
        _check_kind(decoder, kind)
        rate = decoder.attention_dropout
        fields = {
            "architectures": [architecture],
            "model_type": kind,
            "vocab_size": spec.vocab_size,
            "hidden_size": decoder.width,
            "intermediate_size": decoder.inner,
            "num_hidden_layers": decoder.depth,
            "num_attention_heads": decoder.heads,
            "num_key_value_heads": decoder.kv_heads or decoder.heads,
            "head_dim": decoder.head_dim,
            "hidden_act": THEIR_ACTIVATIONS[decoder.activation],
            "max_position_embeddings": decoder.max_length,
            "rms_norm_eps": decoder.norm_epsilon,
            "attention_dropout": decoder.dropout if rate is None else rate,
            "initializer_range": decoder.initializer_range,
            "tie_word_embeddings": decoder.tied_head,
            "bos_token_id": spec.begin,
            "eos_token_id": spec.end,
            "pad_token_id": spec.pad,
        }
        fields |= their_rotary_fields(decoder)
        if kind == "llama":
            fields |= {"attention_bias": decoder.bias, "mlp_bias": decoder.bias}
        else:
            fields |= _their_windows(decoder, kind)
        return fields

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        check_causal(objective)
        decoder = plain(objective.decoder)
        if decoder.qk_norm:
            return "Qwen3ForCausalLM"
        if decoder.qkv_bias and not decoder.bias:
            return "Qwen2ForCausalLM"
        return "MistralForCausalLM" if any(decoder.local_layers) else "LlamaForCausalLM"

    def ignored(self) -> Sequence[str]:
        """Returns the names of tables of rotary frequencies."""
        return (r".*rotary_emb\.(inv_freq|cos_cached|sin_cached)",)


def _bare() -> list[str]:
    """The classes whose tensors have no prefix."""
    return [f"{name}Model" for name in NAMES.values()]


def _aliases(decoder: TransformerConfig) -> tuple[str, ...]:
    """Other names of the embedding table."""
    return ("lm_head.weight",) if decoder.tied_head else ()


def _or_default(config: Mapping[str, Any], name: str, none: int, default: int) -> int:
    """A number, `none` where the file holds null, and the `default` where it lacks the field."""
    return none if config.get(name, 0) is None else whole(config, name, default)


def _biases(config: Mapping[str, Any], kind: str) -> dict[str, bool]:
    """Which dense layers have biases."""
    attention = kind == "qwen2" or flag(config, "attention_bias", False)
    mlp = flag(config, "mlp_bias", False)
    if kind == "qwen2" and not mlp:
        return {"bias": False, "qkv_bias": True}
    if attention != mlp:
        raise InputError(
            f"config.json of {kind} has attention_bias={attention} and mlp_bias={mlp}; biases of the "
            "attention's output alone, or of the feed-forward part alone, cannot be imported"
        )
    return {"bias": mlp}


def _windows(config: Mapping[str, Any], kind: str, depth: int) -> dict[str, int]:
    """The window of local layers and which layers are local."""
    is_used = kind == "mistral" or flag(config, "use_sliding_window", False)
    size = config.get("sliding_window", None if kind == "llama" else 4096)
    if kind == "llama" or not is_used or size is None:
        return {}
    window = whole(config, "sliding_window", size, least=2) - 1  # theirs counts the position itself
    first = 0 if kind == "mistral" else whole(config, "max_window_layers", 28, least=0)
    local = tuple(layer >= first for layer in range(depth))
    if kind != "mistral" and config.get("layer_types") is not None:
        kinds = config["layer_types"]
        local = tuple(one == "sliding_attention" for one in kinds)
        known = {"sliding_attention", "full_attention"}
        if not isinstance(kinds, list) or len(kinds) != depth or not known.issuperset(kinds):
            raise InputError(
                f"config.json has layer_types={short(kinds)}; it must be a list of {depth} times "
                "sliding_attention or full_attention"
            )
    if not any(local):
        return {}
    for every in (0, *range(2, depth + 1)):
        if local == tuple(every == 0 or layer % every != 0 for layer in range(depth)):
            return {"window": window, "global_every": every}
    raise InputError(
        f"config.json of {kind} has local layers {[i for i, one in enumerate(local) if one]} of {depth}; all "
        "can be imported, or all but every second, third and so on, counted from the first"
    )


def _check_kind(decoder: TransformerConfig, kind: str) -> None:
    """Raises InputError where this member of the family has other layers."""
    own, local = plain(decoder), decoder.local_layers
    biases = {"llama": ((False, None), (True, None)), "qwen2": ((False, True),)}
    fits = {
        f"qk_norm={own.qk_norm}": own.qk_norm == (kind == "qwen3"),
        f"bias={own.bias} and qkv_bias={own.qkv_bias}": (own.bias, own.qkv_bias)
        in biases.get(kind, ((False, None),)),
        f"window={own.window}": kind != "llama" or not any(local),
        f"global_every={own.global_every}": kind != "mistral" or all(local) or not any(local),
        f"attention_scale={own.attention_scale}": own.attention_scale is None,
    }
    for said, is_theirs in fits.items():
        if not is_theirs:
            raise InputError(f"{NAMES[kind]} has no networks with {said}, which decoder has")


def _their_windows(decoder: TransformerConfig, kind: str) -> dict[str, Any]:
    """The fields of a config.json that describe local layers."""
    local = decoder.local_layers
    size = decoder.window + 1 if decoder.window is not None and any(local) else None
    if kind == "mistral":
        return {"sliding_window": size}
    names = ["sliding_attention" if one else "full_attention" for one in local]
    used = {"use_sliding_window": size is not None, "sliding_window": size, "max_window_layers": 0}
    return used | {"layer_types": names}


FAMILY = Llama()
"""Folders of Hugging Face's transformers, read and written without torch."""
