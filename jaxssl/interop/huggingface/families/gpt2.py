"""GPT-2 (Radford et al. 2019): GPT2LMHeadModel, GPT2Model, and classifiers on GPT2Model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import (
    ACTIVATIONS,
    THEIR_ACTIVATIONS,
    chosen,
    flag,
    real,
    require,
    whole,
)
from jaxssl.interop.huggingface.families.bert import norm
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.network_check import check_network, scale_of
from jaxssl.interop.huggingface.rules import Rule, split
from jaxssl.models.recipes import gpt2
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.causal_lm import CausalLM

HEAD = "GPT2LMHeadModel"
FREE = (
    *("depth", "width", "heads", "head_width", "mlp", "max_length", "norm_epsilon", "activation"),
    *("attention_scale", "tied_head"),
)
# Dense layer of theirs, whose kernel is [in, out] as ours -> ours, below a layer
LAYER_PARTS = {
    "attn.c_proj": "attention/output",
    "mlp.c_fc": "mlp/up",
    "mlp.c_proj": "mlp/down",
}


@dataclass(frozen=True)
class Gpt2(Family):
    """Folders with the model_type gpt2."""

    base: ClassVar[str] = "GPT2Model"
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> CausalLM:
        """Returns causal LM with the network of `config`, whatever the `architecture`."""
        require(config, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
        width = whole(config, "n_embd", 768)
        inner = {} if config.get("n_inner") is None else {"mlp": whole(config, "n_inner")}
        scaled = flag(config, "scale_attn_weights", True)
        decoder = gpt2(
            whole(config, "n_layer", 12),
            width,
            whole(config, "n_head", 12),
            max_length=whole(config, "n_positions", 1024),
            norm_epsilon=real(config, "layer_norm_epsilon", 1e-5),
            activation=chosen(config, "activation_function", ACTIVATIONS, "gelu_new"),
            attention_scale=None if scaled else 1.0,
            dropout=real(config, "resid_pdrop", 0.1),
            attention_dropout=real(config, "attn_pdrop", 0.1),
            initializer_range=real(config, "initializer_range", 0.02),
            tied_head=flag(config, "tie_word_embeddings", True),
            **inner,
        )
        return CausalLM(decoder)

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of the `objective`'s model for an `architecture`."""
        prefix = "" if architecture == self.base else "transformer."
        width = objective.decoder.width
        layer, ours = f"{prefix}h.{{layer}}", "decoder/layers"
        parts = [f"{ours}/attention/{name}" for name in ("query", "key", "value")]
        fused = f"{layer}.attn.c_attn"
        rules = [
            Rule(f"{prefix}wte.weight", ("decoder/tokens/embedding",), aliases=("lm_head.weight",)),
            Rule(f"{prefix}wpe.weight", ("decoder/positions/embedding",)),
            Rule(f"{fused}.weight", tuple(f"{part}/kernel" for part in parts), _thirds(width, 1)),
            Rule(f"{fused}.bias", tuple(f"{part}/bias" for part in parts), _thirds(width, 0)),
        ]
        for theirs, own in LAYER_PARTS.items():
            for name, part in (("weight", "kernel"), ("bias", "bias")):
                rules.append(Rule(f"{layer}.{theirs}.{name}", (f"{ours}/{own}/{part}",)))
        rules += norm(f"{layer}.ln_1", f"{ours}/attention_norm")
        rules += norm(f"{layer}.ln_2", f"{ours}/mlp_norm")
        rules += norm(f"{prefix}ln_f", "decoder/final_norm")
        if not objective.decoder.tied_head and architecture == HEAD:
            rules.append(Rule("lm_head.weight", ("output_kernel",)))
        return rules

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on texts as in `spec`, for an `architecture`."""
        decoder: TransformerConfig = objective.decoder
        check_network(decoder, gpt2(), "GPT-2", *FREE, field="decoder")
        rate = decoder.attention_dropout
        plain = decoder.head_dim**-0.5
        if decoder.head_dim * decoder.heads != decoder.width or scale_of(decoder) not in (plain, 1):
            raise InputError(
                "GPT-2 has heads that are width / heads wide, and divides scores by the square root of "
                "that or not at all"
            )
        if decoder.activation not in THEIR_ACTIVATIONS:
            raise InputError(f"GPT-2 has no feed-forward part with {decoder.activation}")
        return {
            "architectures": [architecture],
            "model_type": "gpt2",
            "vocab_size": spec.vocab_size,
            "n_positions": decoder.max_length,
            "n_embd": decoder.width,
            "n_layer": decoder.depth,
            "n_head": decoder.heads,
            "n_inner": decoder.inner,
            "activation_function": THEIR_ACTIVATIONS[decoder.activation],
            "layer_norm_epsilon": decoder.norm_epsilon,
            "scale_attn_weights": scale_of(decoder) == plain,
            "embd_pdrop": decoder.dropout,
            "resid_pdrop": decoder.dropout,
            "attn_pdrop": decoder.dropout if rate is None else rate,
            "initializer_range": decoder.initializer_range,
            "tie_word_embeddings": decoder.tied_head,
            "bos_token_id": spec.begin,
            "eos_token_id": spec.end,
            "pad_token_id": spec.pad,
        }

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        check_causal(objective)
        return HEAD

    def ignored(self) -> Sequence[str]:
        """Returns the names of causal masks."""
        return (r".*\.attn\.(bias|masked_bias)",)


def check_causal(objective: Any) -> None:
    """Raises InputError where an `objective` is not causal LM, or sees prefixes from both sides."""
    if not isinstance(objective, CausalLM):
        raise InputError(f"{type(objective).__name__} trains no causal language model")
    if objective.prefix:
        raise InputError("transformers sees no prefix from both sides; prefix=True does")


def _thirds(width: int, axis: int) -> Any:
    """Queries, keys and values behind one another."""
    return split(width, width, width, axis=axis)


FAMILY = Gpt2()
"""Folders of Hugging Face's transformers, read and written without torch."""
