"""BART (Lewis et al. 2020): BartForConditionalGeneration, BartModel, and classifiers on BartModel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

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
from jaxssl.interop.huggingface.families.bert import dense, norm
from jaxssl.interop.huggingface.families.t5 import check_writes
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.network_check import check_network
from jaxssl.interop.huggingface.rules import Arrangement, Rule
from jaxssl.models.encoder_decoder import check_pair
from jaxssl.models.recipes import bart
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.denoising import Denoising

HEAD = "BartForConditionalGeneration"
OFFSET = 2  # rows of the tables of positions that no token reads
FREE = (
    *("depth", "width", "heads", "mlp", "max_length", "activation", "causal", "position_offset"),
    *("embedding_scale", "norm_epsilon"),
)
# A constant that is added to the logits: zeros in the published folders
NO_BIAS = Arrangement(lambda tensor: (), lambda arrays: np.zeros((1, len(arrays[0])), np.float32))
PARTS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "output"}


@dataclass(frozen=True)
class Bart(Family):
    """Folders with the model_type bart."""

    base: ClassVar[str] = "BartModel"
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> Denoising:
        """Returns denoising with the networks of `config`, whatever the `architecture`."""
        require(
            config,
            is_encoder_decoder=True,
            is_decoder=False,
            tie_word_embeddings=True,
            normalize_before=False,
            add_final_layer_norm=False,
            normalize_embedding=True,
            static_position_embeddings=False,
            extra_pos_embeddings=OFFSET,
        )
        width = whole(config, "d_model", 1024)
        scaled = flag(config, "scale_embedding", False)

        def half(name: str, *, causal: bool) -> TransformerConfig:
            return bart(
                whole(config, f"{name}_layers", 12),
                width,
                whole(config, f"{name}_attention_heads", 16),
                mlp=whole(config, f"{name}_ffn_dim", 4096),
                max_length=whole(config, "max_position_embeddings", 1024),
                position_offset=OFFSET,
                embedding_scale=width**0.5 if scaled else 1.0,
                activation=chosen(config, "activation_function", ACTIVATIONS, "gelu"),
                dropout=real(config, "dropout", 0.1),
                attention_dropout=real(config, "attention_dropout", 0.0),
                initializer_range=real(config, "init_std", 0.02),
                causal=causal,
            )

        return Denoising(half("encoder", causal=False), half("decoder", causal=True))

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of the `objective`'s model for an `architecture`."""
        prefix = "" if architecture == self.base else "model."
        copies = [f"{prefix}{half}.embed_tokens.weight" for half in ("encoder", "decoder")]
        aliases = (*copies, "lm_head.weight")
        rules = [Rule(f"{prefix}shared.weight", ("encoder/tokens/embedding",), aliases=aliases)]
        for half in ("encoder", "decoder"):
            rules += _half_rules(f"{prefix}{half}", half, getattr(objective, half))
        if architecture == HEAD:
            shape = ("encoder/tokens/embedding",)
            rules.append(Rule("final_logits_bias", shape, NO_BIAS, zeros=True))
        return rules

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on texts as in `spec`, for an `architecture`."""
        encoder, decoder = objective.encoder, objective.decoder
        _check(encoder, decoder)
        rate = encoder.attention_dropout
        size = getattr(objective, "table_size", int)(spec.vocab_size)
        fields = {
            "architectures": [architecture],
            "model_type": "bart",
            "is_encoder_decoder": True,
            "vocab_size": size,
            "d_model": encoder.width,
            "max_position_embeddings": encoder.max_length,
            "activation_function": THEIR_ACTIVATIONS[encoder.activation],
            "scale_embedding": encoder.embedding_scale != 1,
            "dropout": encoder.dropout,
            "attention_dropout": encoder.dropout if rate is None else rate,
            "init_std": encoder.initializer_range,
            "tie_word_embeddings": True,
            "bos_token_id": spec.begin,
            "eos_token_id": spec.end,
            "forced_eos_token_id": spec.end,
            "pad_token_id": spec.pad,
            "decoder_start_token_id": spec.begin,
        }
        for name, half in (("encoder", encoder), ("decoder", decoder)):
            fields[f"{name}_layers"] = half.depth
            fields[f"{name}_attention_heads"] = half.heads
            fields[f"{name}_ffn_dim"] = half.inner
        return fields

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        check_writes(objective)
        return HEAD


def _check(encoder: TransformerConfig, decoder: TransformerConfig) -> None:
    """Raises InputError where BART has no such pair."""
    check_pair(encoder, decoder)
    check_network(encoder, bart(), "BART", *FREE, field="encoder")
    check_network(decoder, bart(), "BART", *FREE, field="decoder")
    for name in ("max_length", "activation", "embedding_scale"):
        its, mine = getattr(encoder, name), getattr(decoder, name)
        if its != mine:
            raise InputError(f"BART has one {name}, and here are {its} and {mine}")
    if encoder.activation not in THEIR_ACTIVATIONS:
        raise InputError(f"BART has no feed-forward part with activation={encoder.activation}")
    if any(half.head_dim * half.heads != half.width for half in (encoder, decoder)):
        raise InputError("BART has heads that are width / heads wide")
    if encoder.embedding_scale not in (1.0, encoder.width**0.5):
        raise InputError(
            f"BART multiplies embeddings by sqrt(width) or not, and encoder.embedding_scale is "
            f"{encoder.embedding_scale}"
        )
    if any(half.norm_epsilon != 1e-5 for half in (encoder, decoder)):
        raise InputError(
            f"BART has norms with norm_epsilon=1e-05, and encoder.norm_epsilon is "
            f"{encoder.norm_epsilon}"
        )


def _half_rules(theirs: str, half: str, network: TransformerConfig) -> list[Rule]:
    """The table of the encoder or the decoder."""
    layer, ours = f"{theirs}.layers.{{layer}}", f"{half}/layers"
    positions = f"{theirs}.embed_positions.weight"
    rules = [Rule(positions, (f"{half}/positions/embedding",), _rows(network))]
    rules += norm(f"{theirs}.layernorm_embedding", f"{half}/embedding_norm")
    attentions = {"self_attn": "attention"} | ({"encoder_attn": "cross"} if network.causal else {})
    for name, own in attentions.items():
        for part, ours_part in PARTS.items():
            rules += dense(f"{layer}.{name}.{part}", f"{ours}/{own}/{ours_part}")
        rules += norm(f"{layer}.{name}_layer_norm", f"{ours}/{own}_norm")
    rules += dense(f"{layer}.fc1", f"{ours}/mlp/up")
    rules += dense(f"{layer}.fc2", f"{ours}/mlp/down")
    return rules + norm(f"{layer}.final_layer_norm", f"{ours}/mlp_norm")


def _rows(network: TransformerConfig) -> Arrangement:
    """The table of positions, with rows before the first where our table has none."""
    more = OFFSET - network.position_offset

    def outward(arrays: Sequence[np.ndarray]) -> np.ndarray:
        table = arrays[0]
        return np.concatenate([np.zeros((more, table.shape[1]), table.dtype), table])

    return Arrangement(lambda tensor: (tensor[more:],), outward)


FAMILY = Bart()
"""Folders of Hugging Face's transformers, read and written without torch."""
