"""CLIP (Radford et al. 2021) with a vision transformer: CLIPModel.

A text is pooled at its end token, which is the last of a row before padding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxssl.augment import Augmentation, RandomResizedCrop
from jaxssl.data.images import ImageSpec
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import whole
from jaxssl.interop.huggingface.families.bert import norm
from jaxssl.interop.huggingface.families.two_towers import (
    IGNORED,
    image_fields,
    image_rules,
    pairs_spec,
    part_of,
    text_fields,
    text_rules,
    tower,
    tower_fields,
)
from jaxssl.interop.huggingface.families.vision import (
    ROW,
    check_fields,
    first_views,
    square_patch,
)
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.image_settings import image_size, normalized, preprocessor
from jaxssl.interop.huggingface.rules import TRANSPOSED, Rule
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives.image_text import ImageText

# Mean and standard deviation of the channels of the images that CLIP was trained on
STATISTICS = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
VIEWS = Augmentation(crop=RandomResizedCrop((0.9, 1.0)), flip=0.0)
TOKENS, LENGTH = 49_408, 77  # ids, and tokens of a text, where config.json says nothing


@dataclass(frozen=True)
class Clip(Family):
    """Folders with the model_type clip."""

    base: ClassVar[str] = "CLIPModel"
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> ImageText:
        """Returns the contrast of images and texts with both towers of `config`.

        `architecture` must be CLIPModel: others hold one tower.
        """
        check_both_towers(architecture, "CLIPModel")
        image, text = part_of(config, "vision_config"), part_of(config, "text_config")
        encoder = VisionTransformerConfig(
            tower(image, 768, 12, "quick_gelu", 1e-5),
            patch=square_patch({"patch_size": 32} | image),
            positions="learned",
            positions_size=image_size(image),
            token_position=True,
            patch_bias=False,
            embedding_norm=True,
        )
        causal = replace(
            tower(text, 512, 8, "quick_gelu", 1e-5),
            causal=True,
            max_length=whole(text, "max_position_embeddings", LENGTH),
        )
        return ImageText(
            encoder,
            causal,
            kind="clip",
            width=whole(config, "projection_dim", 512),
            views=normalized(VIEWS, image, STATISTICS),
            pooling="last",
        )

    def spec(self, config: Mapping[str, Any], objective: Any, tokenizer: Any) -> ImageSpec:
        """Returns the description of images and texts of `config`, for an `objective` and a `tokenizer`."""
        return pairs_spec(config, TOKENS, objective.text.max_length, tokenizer)

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of both towers of an `objective`; `architecture` is CLIPModel."""
        embeddings = "vision_model.embeddings"
        return [
            Rule(f"{embeddings}.class_embedding", ("encoder/token",), ROW),
            *norm("vision_model.pre_layrnorm", "encoder/embedding_norm"),
            *image_rules(objective.encoder),
            *text_rules(),
            Rule("visual_projection.weight", ("image_projection/kernel",), TRANSPOSED),
            Rule("text_projection.weight", ("text_projection/kernel",), TRANSPOSED),
            Rule("logit_scale", ("logit_scale",)),
        ]

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on images as in `spec`, for an `architecture`."""
        encoder = objective.encoder
        wanted = {"pooling": "token", "registers": 0, "patch_bias": False, "embedding_norm": True}
        wanted |= {"positions": "learned", "token_position": True}
        check_fields(encoder, "the encoder", "CLIP", wanted)
        check_fields(objective.text, "the network of texts", "CLIP", {"causal": True})
        wanted = {"pooling": "last", "reads_padding": False}
        wanted |= {"projects_images": True, "text_bias": False}
        check_fields(objective, "the objective", "CLIP", wanted)
        width = {"projection_dim": objective.width}
        image = tower_fields(encoder.blocks, "CLIP") | image_fields(objective, spec, "CLIP")
        return width | {
            "architectures": [architecture],
            "model_type": "clip",
            "vision_config": {"model_type": "clip_vision_model"} | image | width,
            "text_config": {"model_type": "clip_text_model"}
            | text_fields(objective.text, spec, "CLIP")
            | width,
        }

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        check_image_text(objective, "clip", "CLIP")
        return "CLIPModel"

    def ignored(self) -> Sequence[str]:
        """Returns the names of tables that count positions."""
        return IGNORED

    def preprocessor(self, objective: Any, spec: Any) -> dict[str, Any]:
        """Returns the preprocessor_config.json of an `objective` on images as in `spec`."""
        return preprocessor(first_views(objective), spec, "CLIPImageProcessor")


def check_both_towers(architecture: str, wanted: str) -> None:
    """Raises InputError where the `architecture` of a folder is not `wanted`, the class of both towers."""
    if architecture != wanted:
        raise InputError(
            f"config.json names the class {architecture}; of this family folders of {wanted}, with both "
            "towers, are read"
        )


def check_image_text(objective: Any, kind: str, name: str) -> None:
    """Raises InputError where a run has no such contrast of images and texts.

    Args:
      objective: Its objective.
      kind: "clip" or "siglip".
      name: Name of the family.
    """
    if not isinstance(objective, ImageText) or objective.kind != kind:
        raise InputError(f"a {type(objective).__name__} has no network of {name}")
    if not isinstance(objective.encoder, VisionTransformerConfig):
        raise InputError(
            f"{name} has a vision transformer, and the encoder of this run is a residual network; "
            "export it to numpy"
        )


FAMILY = Clip()
