"""DistilBERT (Sanh et al. 2019): BERT's layers without segment types, under other names."""

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
from jaxssl.interop.huggingface.families.bert import check_layers, dense, encoder_of, norm
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.rules import Rule
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.masked_lm import MaskedLM

EPSILON = 1e-12  # of all norms; config.json has no field for it
LAYER_PARTS = {
    "attention.q_lin": "attention/query",
    "attention.k_lin": "attention/key",
    "attention.v_lin": "attention/value",
    "attention.out_lin": "attention/output",
    "ffn.lin1": "mlp/up",
    "ffn.lin2": "mlp/down",
}
LAYER_NORMS = {"sa_layer_norm": "attention_norm", "output_layer_norm": "mlp_norm"}


@dataclass(frozen=True)
class DistilBert(Family):
    """Folders with the model_type distilbert."""

    base: ClassVar[str] = "DistilBertModel"
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> MaskedLM:
        """Returns masked LM with the network of `config`, whatever the `architecture`."""
        # A table of sines is kept as it is in training.
        require(config, sinusoidal_pos_embds=False)
        encoder = TransformerConfig(
            depth=whole(config, "n_layers", 6),
            width=whole(config, "dim", 768),
            heads=whole(config, "n_heads", 12),
            mlp=whole(config, "hidden_dim", 3072),
            max_length=whole(config, "max_position_embeddings", 512),
            segment_types=0,
            norm_epsilon=EPSILON,
            activation=chosen(config, "activation", ACTIVATIONS, "gelu"),
            dropout=real(config, "dropout", 0.1),
            attention_dropout=real(config, "attention_dropout", 0.1),
            initializer_range=real(config, "initializer_range", 0.02),
            tied_head=flag(config, "tie_word_embeddings", True),
        )
        return MaskedLM(encoder)

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of the `objective`'s model for an `architecture`."""
        prefix = "" if architecture == "DistilBertModel" else "distilbert."
        tables, layer = f"{prefix}embeddings", f"{prefix}transformer.layer.{{layer}}"
        tied = ("vocab_projector.weight",) if objective.encoder.tied_head else ()
        words = f"{tables}.word_embeddings.weight"
        rules = [
            Rule(words, ("encoder/tokens/embedding",), aliases=tied),
            Rule(f"{tables}.position_embeddings.weight", ("encoder/positions/embedding",)),
        ]
        rules += norm(f"{tables}.LayerNorm", "encoder/embedding_norm")
        for theirs, ours in LAYER_PARTS.items():
            rules += dense(f"{layer}.{theirs}", f"encoder/layers/{ours}")
        for theirs, ours in LAYER_NORMS.items():
            rules += norm(f"{layer}.{theirs}", f"encoder/layers/{ours}")
        if architecture != "DistilBertForMaskedLM":
            return rules
        rules += dense("vocab_transform", "transform")
        rules += norm("vocab_layer_norm", "transform_norm")
        rules.append(Rule("vocab_projector.bias", ("output_bias",)))
        if not tied:
            rules.append(Rule("vocab_projector.weight", ("output_kernel",)))
        return rules

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on texts as in `spec`, for an `architecture`."""
        encoder = encoder_of(objective, "DistilBERT")
        check_layers(encoder, "DistilBERT")
        others = encoder.position_offset or encoder.segment_types or encoder.embedding_width
        if others or encoder.norm_epsilon != EPSILON or encoder.activation not in ("gelu", "relu"):
            raise InputError(
                "DistilBERT has no segment types, embeddings as wide as states, GELU or ReLU, and norms with "
                f"an epsilon of {EPSILON}; export this network as another family, or as numpy arrays"
            )
        if getattr(objective, "second_task", None) is not None:
            raise InputError(
                "DistilBERT has no head for pairs of texts; export this network as BERT"
            )
        rate = encoder.attention_dropout
        return {
            "architectures": [architecture],
            "model_type": "distilbert",
            "vocab_size": spec.vocab_size,
            "dim": encoder.width,
            "n_layers": encoder.depth,
            "n_heads": encoder.heads,
            "hidden_dim": encoder.inner,
            "max_position_embeddings": encoder.max_length,
            "sinusoidal_pos_embds": False,
            "activation": THEIR_ACTIVATIONS[encoder.activation],
            "dropout": encoder.dropout,
            "attention_dropout": encoder.dropout if rate is None else rate,
            "initializer_range": encoder.initializer_range,
            "tie_word_embeddings": encoder.tied_head,
            "pad_token_id": spec.pad,
        }

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        encoder_of(objective, "DistilBERT")
        return "DistilBertForMaskedLM" if isinstance(objective, MaskedLM) else "DistilBertModel"


FAMILY = DistilBert()
