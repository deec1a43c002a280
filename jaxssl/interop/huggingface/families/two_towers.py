"""What CLIP and SigLIP share: two towers with the same layers under the same names, and their config.json."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from jaxssl.augment import Augmentation, RandomResizedCrop
from jaxssl.data.images import ImageSpec
from jaxssl.data.stores.json_types import short
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import (
    ACTIVATIONS,
    THEIR_ACTIVATIONS,
    chosen,
    real,
    whole,
)
from jaxssl.interop.huggingface.families.bert import dense, norm
from jaxssl.interop.huggingface.families.vision import (
    check_blocks,
    check_fields,
    first_views,
    patches,
)
from jaxssl.interop.huggingface.families.vit import positions_size
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.image_settings import SETTINGS, image_spec, preprocessor
from jaxssl.interop.huggingface.rules import Rule
from jaxssl.interop.huggingface.specs import text_spec
from jaxssl.models.recipes import vit
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives.image_text import ImageText

# Name of a dense layer or a norm of theirs -> ours, below a layer
LAYER_PARTS = {
    "self_attn.q_proj": "attention/query",
    "self_attn.k_proj": "attention/key",
    "self_attn.v_proj": "attention/value",
    "self_attn.out_proj": "attention/output",
    "mlp.fc1": "mlp/up",
    "mlp.fc2": "mlp/down",
}
LAYER_NORMS = {"layer_norm1": "attention_norm", "layer_norm2": "mlp_norm"}
VIEWS = Augmentation(crop=RandomResizedCrop((0.9, 1.0)), flip=0.0)
IGNORED = (r"(text_model|vision_model)\.embeddings\.position_ids",)
WITHOUT_TOKENS: dict[str, Any] = {
    "embedding_norm": False,
    "segment_types": 0,
    "positions": "learned",
    "position_offset": 0,
    "embedding_scale": 1.0,
    "output_scale": 1.0,
    "embedding_width": None,
    "window": None,
}


class TwoTowers(Family):
    """What both families do alike."""

    kind: ClassVar[str]
    """Kind of the contrast, "clip" or "siglip"."""
    name: ClassVar[str]
    """Name of the family in errors."""
    tokens: ClassVar[int]
    """Number of token ids where config.json says none."""
    processor: ClassVar[str]
    """Class of the preprocessor of images."""

    def spec(self, config: Mapping[str, Any], objective: Any, tokenizer: Any) -> ImageSpec:
        """Returns the description of images and texts of `config`, for an `objective` and a `tokenizer`."""
        return pairs_spec(config, self.tokens, objective.text.max_length, tokenizer)

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as.

        Raises:
          InputError: The run has no such contrast of images and texts.
        """
        if not isinstance(objective, ImageText) or objective.kind != self.kind:
            raise InputError(f"a {type(objective).__name__} has no network of {self.name}")
        if not isinstance(objective.encoder, VisionTransformerConfig):
            raise InputError(
                f"{self.name} has a vision transformer, and the encoder of this run is a residual network; "
                "export it to numpy"
            )
        return self.base

    def check_both_towers(self, architecture: str) -> None:
        """Raises InputError where the `architecture` of a folder is not the class of both towers."""
        if architecture != self.base:
            raise InputError(
                f"config.json names the class {architecture}; of this family folders of {self.base}, with "
                "both towers, are read"
            )

    def ignored(self) -> Sequence[str]:
        """Returns the names of tables that count positions."""
        return IGNORED

    def preprocessor(self, objective: Any, spec: Any) -> dict[str, Any]:
        """Returns the preprocessor_config.json of an `objective` on images as in `spec`."""
        return preprocessor(first_views(objective), spec, self.processor)


def part_of(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the description of a tower in config.json.

    Args:
      config: Content of config.json, with settings of images or without.
      name: "text_config" or "vision_config".

    Raises:
      InputError: It is no JSON object.
    """
    found: dict[str, Any] = {}
    # Old files repeat the description, and the repetition counts.
    for value in (config.get(name), config.get(f"{name}_dict")):
        if value is not None and not isinstance(value, Mapping):
            raise InputError(f"config.json has {name}={short(value)}; it must be a JSON object")
        found |= value or {}
    settings = {SETTINGS: config[SETTINGS]} if SETTINGS in config else {}
    return found | settings


def tower(
    part: Mapping[str, Any], width: int, heads: int, activation: str, epsilon: float
) -> TransformerConfig:
    """Returns the layers of a tower.

    Args:
      part: Its description in config.json.
      width: Width where the file says none.
      heads: Heads where the file says none.
      activation: Activation where the file says none.
      epsilon: Epsilon of norms where the file says none.

    Raises:
      InputError: A field is no number, or our numbers would differ.
    """
    return vit(
        depth=whole(part, "num_hidden_layers", 12),
        width=whole(part, "hidden_size", width),
        heads=whole(part, "num_attention_heads", heads),
        mlp=whole(part, "intermediate_size", 4 * width),
        norm_epsilon=real(part, "layer_norm_eps", epsilon),
        activation=chosen(part, "hidden_act", ACTIVATIONS, activation),
        dropout=0.0,
        attention_dropout=real(part, "attention_dropout", 0.0),
        initializer_range=real(part, "initializer_range", 0.02),
    )


def pairs_spec(
    config: Mapping[str, Any], tokens: int, length: int, tokenizer: Tokenizer | None
) -> ImageSpec:
    """Describes the images and captions that both towers read.

    Args:
      config: Content of config.json.
      tokens: Number of token ids where the file says none.
      length: Tokens of a caption.
      tokenizer: Tokenizer of the folder, or None.

    Raises:
      InputError: Sizes do not fit.
    """
    images = image_spec(part_of(config, "vision_config"))
    text = text_spec({"vocab_size": tokens} | part_of(config, "text_config"), tokenizer)
    captions = replace(text, length=length)
    return ImageSpec(1, images.height, images.width, images.channels, captions=captions)


def tower_fields(blocks: TransformerConfig, name: str) -> dict[str, Any]:
    """Returns the fields of a config.json that describe the layers of a tower.

    Args:
      blocks: The layers.
      name: Name of the family, for messages.

    Raises:
      InputError: The layers are other ones than the family has.
    """
    check_blocks(blocks, name)
    check_fields(blocks, "the network", name, {"qkv_bias": None, "dropout": 0.0})
    return {
        "hidden_size": blocks.width,
        "num_hidden_layers": blocks.depth,
        "num_attention_heads": blocks.heads,
        "intermediate_size": blocks.inner,
        "layer_norm_eps": blocks.norm_epsilon,
        "hidden_act": THEIR_ACTIVATIONS[blocks.activation],
        "attention_dropout": blocks.attention_dropout or 0.0,
    }


def image_fields(objective: Any, spec: ImageSpec, name: str) -> dict[str, Any]:
    """Returns the fields of a config.json that describe the images of an objective.

    Args:
      objective: An objective of images and captions.
      spec: Description of the images.
      name: Name of the family, for messages.

    Raises:
      InputError: The images are not square.
    """
    height, width = positions_size(objective.encoder, first_views(objective), spec)
    if height != width:
        raise InputError(f"the images of {name} are square, and these are {height}x{width}")
    return {
        "image_size": height,
        "patch_size": objective.encoder.patch,
        "num_channels": spec.channels,
    }


def text_fields(text: TransformerConfig, spec: ImageSpec, name: str) -> dict[str, Any]:
    """Returns the fields of a config.json that describe the tower of texts.

    Args:
      text: The tower.
      spec: Description of the images and their captions.
      name: Name of the family, for messages.

    Raises:
      InputError: The tower is another network than the family has, or there are no captions.
    """
    check_fields(text, "the network of texts", name, WITHOUT_TOKENS)
    captions = spec.captions
    if captions is None:
        raise InputError(f"{name} reads images with captions, and these have none")
    return tower_fields(text, name) | {
        "vocab_size": captions.vocab_size,
        "max_position_embeddings": text.max_length,
        "pad_token_id": captions.pad,
        "bos_token_id": captions.begin,
        "eos_token_id": captions.end,
    }


def layer_rules(theirs: str, ours: str) -> list[Rule]:
    """Returns the table of stacked layers.

    Args:
      theirs: What the names of the tower begin with, such as "text_model.".
      ours: Path of our layers.
    """
    above, rules = f"{theirs}encoder.layers.{{layer}}", []
    for part, own in LAYER_PARTS.items():
        rules += dense(f"{above}.{part}", f"{ours}/{own}")
    for part, own in LAYER_NORMS.items():
        rules += norm(f"{above}.{part}", f"{ours}/{own}")
    return rules


def image_rules(encoder: VisionTransformerConfig, prefix: str = "vision_model.") -> list[Rule]:
    """Returns the table of the tower of images without its first norm, class token and head.

    Args:
      encoder: The tower.
      prefix: What their names begin with.
    """
    embeddings = f"{prefix}embeddings"
    patch = f"{embeddings}.patch_embedding"
    rules = [
        Rule(f"{patch}.weight", ("encoder/embedding/kernel",), patches(encoder.patch)),
        Rule(f"{embeddings}.position_embedding.weight", ("encoder/positions/embedding",)),
    ]
    if encoder.patch_bias:
        rules.append(Rule(f"{patch}.bias", ("encoder/embedding/bias",)))
    rules += layer_rules(prefix, "encoder/blocks/layers")
    return rules + norm(f"{prefix}post_layernorm", "encoder/blocks/final_norm")


def text_rules(prefix: str = "text_model.") -> list[Rule]:
    """Returns the table of the tower of texts; `prefix` is what their names begin with."""
    embeddings = f"{prefix}embeddings"
    rules = [
        Rule(f"{embeddings}.token_embedding.weight", ("text/tokens/embedding",)),
        Rule(f"{embeddings}.position_embedding.weight", ("text/positions/embedding",)),
    ]
    rules += layer_rules(prefix, "text/layers")
    return rules + norm(f"{prefix}final_layer_norm", "text/final_norm")
