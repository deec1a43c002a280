"""ELECTRA (Clark et al. 2020): generators, discriminators, and both as one run.

A folder of a discriminator (ElectraForPreTraining, ElectraModel) is an `Electra` objective, whose generator
is random until one is read; a folder of a generator (ElectraForMaskedLM) by itself is a masked LM. A run with
`Electra` goes out as either: the architecture ElectraForMaskedLM writes the generator, with the embeddings
that it shares with the discriminator.
"""

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
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.electra import Electra
from jaxssl.objectives.masked_lm import MaskedLM

GENERATOR, DISCRIMINATOR, BASE = "ElectraForMaskedLM", "ElectraForPreTraining", "ElectraModel"
HEAD = "generator_lm_head.weight"


@dataclass(frozen=True)
class ElectraFamily(Family):
    """Folders with the model_type electra."""

    base: ClassVar[str] = BASE
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> MaskedLM | Electra:
        """Returns masked LM for the `architecture` of generators, else ELECTRA, with `config`'s network."""
        encoder = encoder_config(config)
        narrow = whole(config, "embedding_size", 128)
        if narrow != encoder.width:
            encoder = replace(encoder, embedding_width=narrow)
        if architecture != GENERATOR:
            return Electra(discriminator=replace(encoder, tied_head=True))
        require(config, hidden_act="gelu")
        if not encoder.tied_head and narrow != encoder.width:
            require(config, tie_word_embeddings=True)
        return MaskedLM(encoder)

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of the `objective`'s model for an `architecture`."""
        prefix = "" if architecture == BASE else "electra."
        if isinstance(objective, Electra):
            return _rules_of_run(objective, architecture, prefix)
        rules = network_rules(prefix, objective.encoder, "encoder")
        if architecture == GENERATOR:
            rules += generator_head("")
            if not objective.encoder.tied_head:
                rules.append(Rule(HEAD, ("output_kernel",)))
        return rules

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on texts as in `spec`, for an `architecture`."""
        if isinstance(objective, Electra):
            is_generator = architecture == GENERATOR
            encoder = objective.generator if is_generator else objective.discriminator
        else:
            encoder = encoder_of(objective, "ELECTRA")
        check_layers(encoder, "ELECTRA")
        if not encoder.segment_types or encoder.position_offset:
            raise InputError(
                "ELECTRA has segment types and a first position in row 0; export this network as another "
                "family, or as numpy arrays"
            )
        if architecture == GENERATOR and encoder.activation != "gelu":
            raise InputError(f"ELECTRA's generator has an exact GELU, not {encoder.activation}")
        return their_config(encoder, spec) | {
            "architectures": [architecture],
            "model_type": "electra",
            "embedding_size": encoder.table_width,
        }

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as: of ELECTRA the discriminator."""
        if isinstance(objective, Electra):
            return DISCRIMINATOR
        encoder_of(objective, "ELECTRA")
        return GENERATOR if isinstance(objective, MaskedLM) else BASE

    def ignored(self) -> Sequence[str]:
        """Returns the names of tables of positions."""
        return (r".*embeddings\.(position_ids|token_type_ids)",)


def network_rules(
    prefix: str, encoder: TransformerConfig, ours: str, tables: str | None = None
) -> list[Rule]:
    """Returns the table of one network.

    Args:
      prefix: What the names of theirs begin with.
      encoder: The network.
      ours: Path of ours.
      tables: Path of the network whose embeddings it shares; None: its own.
    """
    tied = HEAD if encoder.tied_head else None
    rules = encoder_rules(prefix, ours, tables=tables, tied=tied)
    if encoder.table_width != encoder.width:
        rules += dense(f"{prefix}embeddings_project", f"{ours}/widen")
    return rules


def generator_head(ours: str) -> list[Rule]:
    """Returns the table of the generator's head, whose paths begin with `ours`."""
    rules = dense("generator_predictions.dense", f"{ours}transform")
    rules += norm("generator_predictions.LayerNorm", f"{ours}transform_norm")
    return [*rules, Rule("generator_lm_head.bias", (f"{ours}output_bias",))]


def _rules_of_run(objective: Electra, architecture: str, prefix: str) -> list[Rule]:
    """The table of one of the two networks of a run."""
    if architecture == GENERATOR:
        rules = network_rules(
            prefix, objective.generator, "generator/encoder", tables="discriminator"
        )
        return rules + generator_head("generator/")
    rules = network_rules(prefix, objective.discriminator, "discriminator")
    if architecture == DISCRIMINATOR:
        rules += dense("discriminator_predictions.dense", "transform")
        rules += dense("discriminator_predictions.dense_prediction", "classifier")
    return rules


FAMILY = ElectraFamily()
