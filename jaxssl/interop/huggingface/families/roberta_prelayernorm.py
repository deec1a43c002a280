"""BERT with the norm before each part and one at the end: RobertaPreLayerNorm (Ott et al. 2019, fairseq).

This is the class of transformers for our recipes with `norm_first`, such as the quickstart. A head for pairs
of texts has no place in it and is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import THEIR_ACTIVATIONS, require, whole
from jaxssl.interop.huggingface.families.bert import (
    LAYER_PARTS,
    TABLES,
    dense,
    encoder_config,
    norm,
    their_config,
)
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.rules import SAME, Arrangement, Rule
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.masked_lm import MaskedLM

NAME, HEAD = "roberta_prelayernorm", "RobertaPreLayerNormForMaskedLM"
# The row of the padding, id 0, comes before that of the first position.
BEHIND_PADDING = Arrangement(
    lambda tensor: (tensor[1:],),
    lambda arrays: np.concatenate([np.zeros_like(arrays[0][:1]), arrays[0]]),
)
SHAPE = {
    "norm": "layer",
    "norm_first": True,
    "norm_before_first": True,
    "final_norm": True,
    "embedding_norm": True,
    "bias": True,
    "causal": False,
    "qk_norm": False,
    "window": None,
    "positions": "learned",
    "embedding_width": None,
    "head_width": None,
    "tied_head": True,
}


@dataclass(frozen=True)
class RobertaPreLayerNorm(Family):
    """Folders with the model_type roberta-prelayernorm."""

    base: ClassVar[str] = "RobertaPreLayerNormModel"
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> MaskedLM:
        """Returns masked LM with the network of `config`; the head of an `architecture` has an exact GELU."""
        if architecture == HEAD:
            require(config, hidden_act="gelu", tie_word_embeddings=True)
        offset = whole(config, "pad_token_id", 1, least=0) + 1
        rows = whole(config, "max_position_embeddings", 512, least=offset + 1)
        encoder = replace(
            encoder_config(config),
            norm_first=True,
            final_norm=True,
            max_length=rows - offset,
            position_offset=offset,
        )
        return MaskedLM(encoder)

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of the `objective`'s model for an `architecture`."""
        prefix = f"{NAME}." if architecture == HEAD else ""
        positions = SAME if objective.encoder.position_offset else BEHIND_PADDING
        rules = [
            Rule(
                f"{prefix}embeddings.{theirs}.weight",
                (f"encoder/{own}/embedding",),
                positions if own == "positions" else SAME,
                aliases=("lm_head.decoder.weight",) if own == "tokens" else (),
            )
            for theirs, own in TABLES.items()
        ]
        rules += norm(f"{prefix}embeddings.LayerNorm", "encoder/embedding_norm")
        layer = f"{prefix}encoder.layer.{{layer}}"
        for theirs, own in LAYER_PARTS.items():
            rules += dense(f"{layer}.{theirs}", f"encoder/layers/{own}")
        rules += norm(f"{layer}.attention.LayerNorm", "encoder/layers/attention_norm")
        rules += norm(f"{layer}.intermediate.LayerNorm", "encoder/layers/mlp_norm")
        rules += norm(f"{prefix}LayerNorm", "encoder/final_norm")
        if architecture == HEAD:
            rules += dense("lm_head.dense", "transform")
            rules += norm("lm_head.layer_norm", "transform_norm")
            rules.append(Rule("lm_head.bias", ("output_bias",), aliases=("lm_head.decoder.bias",)))
        return rules

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on texts as in `spec`, for an `architecture`."""
        encoder = _encoder(objective)
        for field, value in SHAPE.items():
            if getattr(encoder, field) != value:
                raise InputError(
                    f"RobertaPreLayerNorm has {field}={value}, and this network {getattr(encoder, field)}"
                )
        offset = encoder.position_offset or 1
        if not encoder.segment_types or spec.pad != offset - 1:
            raise InputError(
                "RobertaPreLayerNorm has segment types, and its first position is that behind the row of the "
                f"padding; this network has {encoder.segment_types} types, and padding has the id {spec.pad}"
            )
        known = ("gelu",) if architecture == HEAD else tuple(THEIR_ACTIVATIONS)
        if encoder.activation not in known or encoder.kv_heads not in (None, encoder.heads):
            raise InputError(
                "RobertaPreLayerNorm has a GELU and heads that share no keys; this network has "
                f"activation={encoder.activation} and kv_heads={encoder.kv_heads}"
            )
        return their_config(encoder, spec) | {
            "architectures": [architecture],
            "model_type": "roberta-prelayernorm",
            "max_position_embeddings": encoder.max_length + offset,
            "pad_token_id": spec.pad,
            "bos_token_id": spec.begin,
            "eos_token_id": spec.end,
        }

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        _encoder(objective)
        return HEAD if isinstance(objective, MaskedLM) else "RobertaPreLayerNormModel"

    def ignored(self) -> Sequence[str]:
        """Returns the names of tables of positions."""
        return (r".*embeddings\.(position_ids|token_type_ids)",)


def _encoder(objective: Any) -> TransformerConfig:
    encoder = getattr(objective, "encoder", None)
    if not isinstance(encoder, TransformerConfig) or hasattr(objective, "decoder"):
        raise InputError(f"{type(objective).__name__} has no encoder of texts alone")
    return encoder


FAMILY = RobertaPreLayerNorm()
