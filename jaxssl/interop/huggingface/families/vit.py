"""ViT (Dosovitskiy et al. 2021): ViTModel, ViTForImageClassification and others on the same network.

The objective of an import is SimCLR with a fresh projector: the folder has no self-supervised task of its
own, and SimCLR trains, embeds and probes any encoder. A pooler or a classifier is kept and goes out as it
came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from jaxssl.augment import Augmentation
from jaxssl.augment.recipes import simclr_views
from jaxssl.data.images import ImageSpec
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import (
    ACTIVATIONS,
    THEIR_ACTIVATIONS,
    chosen,
    flag,
    real,
    whole,
)
from jaxssl.interop.huggingface.families.bert import dense, norm
from jaxssl.interop.huggingface.families.vision import (
    FIRST,
    WITH_ROW_OF_ZEROS,
    check_blocks,
    check_fields,
    first_views,
    one_number,
    patches,
    sine_table,
    square_patch,
)
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.image_settings import (
    STANDARD,
    image_size,
    image_spec,
    normalized,
    preprocessor,
)
from jaxssl.interop.huggingface.rules import Rule
from jaxssl.models.recipes import vit
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives.image_text import ImageText
from jaxssl.objectives.masked_autoencoder import MaskedAutoencoder
from jaxssl.objectives.simclr import SimCLR

# Name of a dense layer or a norm of theirs -> ours, below a layer
LAYER_PARTS = {
    "attention.attention.query": "attention/query",
    "attention.attention.key": "attention/key",
    "attention.attention.value": "attention/value",
    "attention.output.dense": "attention/output",
    "intermediate.dense": "mlp/up",
    "output.dense": "mlp/down",
}
LAYER_NORMS = {"layernorm_before": "attention_norm", "layernorm_after": "mlp_norm"}
QKV = ("attention/query", "attention/key", "attention/value")
# Classes whose network has no name of its own in front
BARE = ("ViTModel", "ViTMAEModel")


@dataclass(frozen=True)
class Vit(Family):
    """Folders with the model_type vit."""

    base: ClassVar[str] = "ViTModel"
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> SimCLR:
        """Returns SimCLR with the network of `config` as its encoder, whatever the `architecture`."""
        encoder = VisionTransformerConfig(
            blocks_config(config),
            patch=square_patch(config),
            positions="learned",
            positions_size=image_size(config),
            token_position=True,
        )
        return SimCLR(encoder, normalized(simclr_views(), config, STANDARD))

    def spec(self, config: Mapping[str, Any], objective: Any, tokenizer: Any) -> ImageSpec:
        """Returns the description of the images of `config`; `objective` and `tokenizer` are not read."""
        return image_spec(config)

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of the encoder of an `objective` for an `architecture`."""
        encoder, prefix = objective.encoder, "" if architecture in BARE else "vit."
        rules = embedding_rules(prefix, encoder)
        rules += layer_rules(f"{prefix}encoder.layer", "encoder/blocks/layers", encoder.blocks)
        return rules + norm(f"{prefix}layernorm", "encoder/blocks/final_norm")

    def constants(self, objective: Any, spec: Any, architecture: str) -> Mapping[str, np.ndarray]:
        """Returns the table of positions where an `objective` does not learn it, for images as in `spec`.

        `architecture` is the class of the folder.
        """
        prefix = "" if architecture in BARE else "vit."
        return sine_constants(prefix, objective, spec)

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on images as in `spec`, for an `architecture`."""
        encoder = objective.encoder
        check_fields(encoder, "the encoder", "ViT", {"pooling": "token"} | PLAIN)
        labels = {} if architecture in BARE else {"num_labels": 0}
        return (
            encoder_fields(objective, spec, "ViT")
            | labels
            | {
                "architectures": [architecture],
                "model_type": "vit",
                "encoder_stride": encoder.patch,
            }
        )

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        encoder = getattr(objective, "encoder", None)
        if not isinstance(encoder, VisionTransformerConfig) or isinstance(
            objective, ImageText | MaskedAutoencoder
        ):
            raise InputError(f"a {type(objective).__name__} has no network of ViT alone")
        return "ViTForImageClassification"

    def preprocessor(self, objective: Any, spec: Any) -> dict[str, Any]:
        """Returns the preprocessor_config.json of an `objective` on images as in `spec`."""
        return preprocessor(first_views(objective), spec, "ViTImageProcessor")


# Fields of an encoder that no class but CLIP's or SigLIP's has with other values
PLAIN: dict[str, Any] = {"registers": 0, "patch_bias": True, "embedding_norm": False}


def blocks_config(config: Mapping[str, Any]) -> TransformerConfig:
    """Returns the layers of a config.json of ViT or ViT-MAE.

    Raises:
      InputError: A field is missing, or our numbers would differ.
    """
    return vit(
        depth=whole(config, "num_hidden_layers", 12),
        width=whole(config, "hidden_size", 768),
        heads=whole(config, "num_attention_heads", 12),
        mlp=whole(config, "intermediate_size", 3072),
        norm_epsilon=real(config, "layer_norm_eps", 1e-12),
        activation=chosen(config, "hidden_act", ACTIVATIONS, "gelu"),
        dropout=real(config, "hidden_dropout_prob", 0.0),
        attention_dropout=real(config, "attention_probs_dropout_prob", 0.0),
        initializer_range=real(config, "initializer_range", 0.02),
        qkv_bias=None if flag(config, "qkv_bias", True) else False,
    )


def encoder_fields(objective: Any, spec: Any, name: str) -> dict[str, Any]:
    """Returns the fields of a config.json that describe the encoder of an objective.

    Args:
      objective: An objective with a vision transformer.
      spec: Description of its images.
      name: Name of the family, for messages.

    Raises:
      InputError: The layers are not those of ViT, or the positions are for another size.
    """
    encoder, blocks = objective.encoder, objective.encoder.blocks
    check_blocks(blocks, name)
    rate = blocks.attention_dropout
    return {
        "hidden_size": blocks.width,
        "num_hidden_layers": blocks.depth,
        "num_attention_heads": blocks.heads,
        "intermediate_size": blocks.inner,
        "layer_norm_eps": blocks.norm_epsilon,
        "hidden_act": THEIR_ACTIVATIONS[blocks.activation],
        "hidden_dropout_prob": blocks.dropout,
        "attention_probs_dropout_prob": blocks.dropout if rate is None else rate,
        "initializer_range": blocks.initializer_range,
        "qkv_bias": blocks.qkv_bias is not False,
        "image_size": one_number(positions_size(encoder, first_views(objective), spec)),
        "patch_size": encoder.patch,
        "num_channels": spec.channels,
    }


def positions_size(
    encoder: VisionTransformerConfig, views: Augmentation, spec: Any
) -> tuple[int, int]:
    """Returns height and width of the images that the positions of an encoder are for.

    Args:
      encoder: The encoder.
      views: Augmentation of its images.
      spec: Description of the images, for positions that are computed and views of any size.
    """
    return encoder.positions_size or views.size or (spec.height, spec.width)


def embedding_rules(prefix: str, encoder: VisionTransformerConfig) -> list[Rule]:
    """Returns the table of class token, patches and learned positions.

    Args:
      prefix: What the names of theirs begin with, such as "vit.".
      encoder: The encoder.
    """
    above, rules = f"{prefix}embeddings", []
    rules.append(Rule(f"{above}.cls_token", ("encoder/token",), FIRST))
    if encoder.positions == "learned":
        rows = FIRST if encoder.token_position else WITH_ROW_OF_ZEROS
        rules.append(Rule(f"{above}.position_embeddings", ("encoder/positions/embedding",), rows))
    projection = f"{above}.patch_embeddings.projection"
    rules.append(
        Rule(f"{projection}.weight", ("encoder/embedding/kernel",), patches(encoder.patch))
    )
    return [*rules, Rule(f"{projection}.bias", ("encoder/embedding/bias",))]


def layer_rules(
    theirs: str, ours: str, blocks: TransformerConfig, *, alias: str = ""
) -> list[Rule]:
    """Returns the table of stacked layers.

    Args:
      theirs: What the names of their layers begin with, such as "vit.encoder.layer".
      ours: Path of our layers.
      blocks: The layers.
      alias: Another such beginning that files may have.
    """
    rules = []
    for part, own in LAYER_PARTS.items():
        bias = own not in QKV or blocks.qkv_bias is not False
        rules += dense(f"{theirs}.{{layer}}.{part}", f"{ours}/{own}", bias=bias)
    for part, own in LAYER_NORMS.items():
        rules += norm(f"{theirs}.{{layer}}.{part}", f"{ours}/{own}")
    if not alias:
        return rules
    return [replace(rule, aliases=(rule.theirs.replace(theirs, alias),)) for rule in rules]


def sine_constants(prefix: str, objective: Any, spec: Any) -> dict[str, np.ndarray]:
    """Returns the table of positions of an encoder that computes them; none where they are learned.

    Args:
      prefix: What the names of theirs begin with.
      objective: An objective with a vision transformer.
      spec: Description of its images.
    """
    encoder = objective.encoder
    if encoder.positions == "learned":
        return {}
    size = positions_size(encoder, first_views(objective), spec)
    table = sine_table(*size, encoder.patch, encoder.features)
    return {f"{prefix}embeddings.position_embeddings": table}


FAMILY = Vit()
