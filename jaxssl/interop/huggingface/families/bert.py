"""BERT (Devlin et al. 2019): BertModel, BertForMaskedLM, BertForPreTraining, and classifiers on BertModel."""

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
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.network_check import check_network
from jaxssl.interop.huggingface.rules import TRANSPOSED, Rule
from jaxssl.models.recipes import bert
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.masked_lm import MaskedLM
from jaxssl.objectives.sentence_pairs import NextSentence

# Name of a dense layer or a norm of theirs -> ours, below a layer
LAYER_PARTS = {
    "attention.self.query": "attention/query",
    "attention.self.key": "attention/key",
    "attention.self.value": "attention/value",
    "attention.output.dense": "attention/output",
    "intermediate.dense": "mlp/up",
    "output.dense": "mlp/down",
}
LAYER_NORMS = {
    "attention.output.LayerNorm": "attention_norm",
    "output.LayerNorm": "mlp_norm",
}
TABLES = {
    "word_embeddings": "tokens",
    "position_embeddings": "positions",
    "token_type_embeddings": "types",
}


# Fields in which networks with BERT's layers differ
FREE = (
    *("depth", "width", "heads", "mlp", "max_length", "activation", "norm_epsilon", "tied_head"),
    *("segment_types", "position_offset", "embedding_width"),
)


@dataclass(frozen=True)
class Bert(Family):
    """Folders with the model_type bert."""

    base: ClassVar[str] = "BertModel"
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> MaskedLM:
        """Returns masked LM with the network of `config`; the `architecture` BertForPreTraining has pairs."""
        pairs = NextSentence() if architecture == "BertForPreTraining" else None
        return MaskedLM(encoder_config(config), second_task=pairs)

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of the `objective`'s model for an `architecture`."""
        prefix = "" if architecture == "BertModel" else "bert."
        tied = "cls.predictions.decoder.weight" if objective.encoder.tied_head else None
        rules = encoder_rules(prefix, tied=tied)
        if architecture in ("BertForMaskedLM", "BertForPreTraining"):
            rules += head_rules(objective.encoder.tied_head)
        if architecture == "BertForPreTraining":
            rules += dense("bert.pooler.dense", "pooler")
            rules += dense("cls.seq_relationship", "pair_classifier")
        return rules

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on texts as in `spec`, for an `architecture`."""
        encoder = encoder_of(objective, "BERT")
        check_layers(encoder, "BERT")
        if encoder.position_offset or not encoder.segment_types or encoder.embedding_width:
            raise InputError(
                "BERT has segment types, a first position in row 0 and embeddings as wide as states, and "
                "this network has not; export it as another family, or as numpy arrays"
            )
        return their_config(encoder, spec) | {
            "architectures": [architecture],
            "model_type": "bert",
            "position_embedding_type": "absolute",
        }

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        encoder_of(objective, "BERT")
        if isinstance(objective, MaskedLM):
            return "BertForMaskedLM" if objective.second_task is None else "BertForPreTraining"
        return "BertModel"

    def ignored(self) -> Sequence[str]:
        """Returns the names of tables of positions."""
        return (r".*embeddings\.(position_ids|token_type_ids)",)


def encoder_config(config: Mapping[str, Any]) -> TransformerConfig:
    """Returns the network of a config.json of BERT or of a family with the same layers.

    Args:
      config: Content of config.json.

    Raises:
      InputError: A field is missing, or our numbers would differ.
    """
    require(config, is_decoder=False, add_cross_attention=False, position_embedding_type="absolute")
    return TransformerConfig(
        depth=whole(config, "num_hidden_layers", 12),
        width=whole(config, "hidden_size", 768),
        heads=whole(config, "num_attention_heads", 12),
        mlp=whole(config, "intermediate_size", 3072),
        max_length=whole(config, "max_position_embeddings", 512),
        segment_types=whole(config, "type_vocab_size", 2),
        norm_epsilon=real(config, "layer_norm_eps", 1e-12),
        activation=chosen(config, "hidden_act", ACTIVATIONS, "gelu"),
        dropout=real(config, "hidden_dropout_prob", 0.1),
        attention_dropout=real(config, "attention_probs_dropout_prob", 0.1),
        initializer_range=real(config, "initializer_range", 0.02),
        tied_head=flag(config, "tie_word_embeddings", True),
    )


def their_config(encoder: TransformerConfig, spec: Any) -> dict[str, Any]:
    """Returns the fields of a config.json that describe a network with BERT's layers.

    Args:
      encoder: The network.
      spec: Description of its texts.
    """
    rate = encoder.attention_dropout
    return {
        "vocab_size": spec.vocab_size,
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "intermediate_size": encoder.inner,
        "max_position_embeddings": encoder.max_length,
        "type_vocab_size": encoder.segment_types,
        "layer_norm_eps": encoder.norm_epsilon,
        "hidden_act": THEIR_ACTIVATIONS[encoder.activation],
        "hidden_dropout_prob": encoder.dropout,
        "attention_probs_dropout_prob": encoder.dropout if rate is None else rate,
        "initializer_range": encoder.initializer_range,
        "tie_word_embeddings": encoder.tied_head,
        "pad_token_id": spec.pad,
    }


def encoder_of(objective: Any, name: str) -> TransformerConfig:
    """Returns the encoder of texts of an `objective`.

    Raises InputError where it has none that reads from both sides; `name` is that of the family.
    """
    encoder = getattr(objective, "encoder", None)
    if not isinstance(encoder, TransformerConfig) or hasattr(objective, "decoder"):
        raise InputError(f"{type(objective).__name__} has no network of {name}")
    return encoder


def check_layers(encoder: TransformerConfig, name: str) -> None:
    """Raises InputError where an `encoder` has other layers than BERT; `name` is that of the family."""
    check_network(encoder, bert(), name, *FREE, field="encoder")
    if encoder.activation not in THEIR_ACTIVATIONS:
        raise InputError(f"{name} has no feed-forward part with activation={encoder.activation}")


def encoder_rules(
    prefix: str,
    ours: str = "encoder",
    *,
    tables: str | None = None,
    tied: str | None = None,
) -> list[Rule]:
    """Returns the table of a network with BERT's layers.

    Args:
      prefix: What the names of theirs begin with, such as "bert.".
      ours: Path of our network.
      tables: Path of the network that holds the embeddings; None: `ours`.
      tied: Name of the output kernel that is tied to the word embeddings; None: there is none.
    """
    held, rules = tables or ours, []
    for theirs, own in TABLES.items():
        aliases = (tied,) if own == "tokens" and tied else ()
        name = f"{prefix}embeddings.{theirs}.weight"
        rules.append(Rule(name, (f"{held}/{own}/embedding",), aliases=aliases))
    rules += norm(f"{prefix}embeddings.LayerNorm", f"{held}/embedding_norm")
    for theirs, own in LAYER_PARTS.items():
        rules += dense(f"{prefix}encoder.layer.{{layer}}.{theirs}", f"{ours}/layers/{own}")
    for theirs, own in LAYER_NORMS.items():
        rules += norm(f"{prefix}encoder.layer.{{layer}}.{theirs}", f"{ours}/layers/{own}")
    return rules


def head_rules(tied: bool) -> list[Rule]:
    """Returns the table of the head of masked LM, whose kernel is the embedding table if `tied`."""
    rules = dense("cls.predictions.transform.dense", "transform")
    rules += norm("cls.predictions.transform.LayerNorm", "transform_norm")
    first, second = "cls.predictions.bias", "cls.predictions.decoder.bias"
    if tied:
        return [*rules, Rule(first, ("output_bias",), aliases=(second,))]
    # Files have both, and the second one is added, where transformers 5 does not tie them.
    return [
        *rules,
        Rule(second, ("output_bias",), copies=(first,)),
        Rule("cls.predictions.decoder.weight", ("output_kernel",)),
    ]


def dense(theirs: str, ours: str, *, bias: bool = True) -> list[Rule]:
    """Returns the rules of a dense layer of torch: kernel `[out, in]` and bias.

    Args:
      theirs: Name of the layer.
      ours: Path of ours.
      bias: Whether it has a bias.
    """
    rules = [Rule(f"{theirs}.weight", (f"{ours}/kernel",), TRANSPOSED)]
    return rules + ([Rule(f"{theirs}.bias", (f"{ours}/bias",))] if bias else [])


def norm(theirs: str, ours: str, *, bias: bool = True) -> list[Rule]:
    """Returns the rules of a norm: scale and bias.

    Args:
      theirs: Name of the norm.
      ours: Path of ours.
      bias: Whether it has a bias.
    """
    rules = [Rule(f"{theirs}.weight", (f"{ours}/scale",))]
    return rules + ([Rule(f"{theirs}.bias", (f"{ours}/bias",))] if bias else [])


FAMILY = Bert()
