"""RoBERTa (Liu et al. 2019) and XLM-R (Conneau et al. 2020): BERT's layers, other positions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import require, whole
from jaxssl.interop.huggingface.families.bert import (
    check_layers,
    dense,
    encoder_config,
    encoder_of,
    encoder_rules,
    norm,
    their_config,
)
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.rules import Rule
from jaxssl.objectives.masked_lm import MaskedLM

XLM = "XLMRoberta"  # what the classes of XLM-R begin with


@dataclass(frozen=True)
class Roberta(Family):
    """Folders with the model_type roberta or xlm-roberta.

    The table of positions has rows before that of the first position, padding_idx + 1, which no token reads;
    they are kept (`TransformerConfig.position_offset`).
    """

    base: ClassVar[str] = "RobertaModel"
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> MaskedLM:
        """Returns masked LM with the network of `config`; the head of an `architecture` has an exact GELU."""
        if _has_head(architecture):
            require(config, hidden_act="gelu")
        offset = whole(config, "pad_token_id", 1, least=0) + 1
        rows = whole(config, "max_position_embeddings", 512, least=offset + 1)
        encoder = replace(
            encoder_config(config),
            max_length=rows - offset,
            position_offset=offset,
        )
        return MaskedLM(encoder)

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of the `objective`'s model for an `architecture`."""
        prefix = "" if architecture.endswith("RobertaModel") else "roberta."
        kernel = "lm_head.decoder.weight"
        rules = encoder_rules(prefix, tied=kernel if objective.encoder.tied_head else None)
        if not _has_head(architecture):
            return rules
        rules += dense("lm_head.dense", "transform")
        rules += norm("lm_head.layer_norm", "transform_norm")
        first, second = "lm_head.bias", "lm_head.decoder.bias"
        if objective.encoder.tied_head:
            return [*rules, Rule(first, ("output_bias",), aliases=(second,))]
        return [
            *rules,
            Rule(second, ("output_bias",), copies=(first,)),
            Rule(kernel, ("output_kernel",)),
        ]

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on texts as in `spec`, for an `architecture`."""
        encoder = encoder_of(objective, "RoBERTa")
        check_layers(encoder, "RoBERTa")
        offset = encoder.position_offset
        if offset < 1 or not encoder.segment_types or encoder.embedding_width:
            raise InputError(
                "RoBERTa's first position is that behind the row of its padding, and it has segment types; "
                "export this network as another family, or as numpy arrays"
            )
        if _has_head(architecture) and encoder.activation != "gelu":
            raise InputError(f"RoBERTa's head has an exact GELU, not {encoder.activation}")
        return their_config(encoder, spec) | {
            "architectures": [architecture],
            "model_type": "xlm-roberta" if architecture.startswith(XLM) else "roberta",
            "max_position_embeddings": encoder.max_length + offset,
            "pad_token_id": offset - 1,
            "position_embedding_type": "absolute",
        }

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        encoder_of(objective, "RoBERTa")
        return "RobertaForMaskedLM" if isinstance(objective, MaskedLM) else "RobertaModel"

    def ignored(self) -> Sequence[str]:
        """Returns the names of tables of positions."""
        return (r".*embeddings\.(position_ids|token_type_ids)",)


def _has_head(architecture: str) -> bool:
    return architecture.endswith("RobertaForMaskedLM")


FAMILY = Roberta()
