"""CLIP (Radford et al. 2021) with a vision transformer: CLIPModel.

A text is pooled at its end token, which is the last of a row before padding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxssl.interop.huggingface.config_fields import whole
from jaxssl.interop.huggingface.families.bert import norm
from jaxssl.interop.huggingface.families.two_towers import (
    VIEWS,
    TwoTowers,
    image_fields,
    image_rules,
    part_of,
    text_fields,
    text_rules,
    tower,
    tower_fields,
)
from jaxssl.interop.huggingface.families.vision import (
    ROW,
    check_fields,
    square_patch,
)
from jaxssl.interop.huggingface.image_settings import image_size, normalized
from jaxssl.interop.huggingface.rules import TRANSPOSED, Rule
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives.image_text import ImageText

# Mean and standard deviation of the channels of the images that CLIP was trained on
STATISTICS = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
TOKENS, LENGTH = 49_408, 77  # ids, and tokens of a text, where config.json says nothing


@dataclass(frozen=True)
class Clip(TwoTowers):
    """Folders with the model_type clip."""

    base: ClassVar[str] = "CLIPModel"
    """Architecture of a folder whose config.json names none."""
    kind: ClassVar[str] = "clip"
    """Kind of the contrast."""
    name: ClassVar[str] = "CLIP"
    """Name of the family in errors."""
    tokens: ClassVar[int] = TOKENS
    """Number of token ids where config.json says none."""
    processor: ClassVar[str] = "CLIPImageProcessor"
    """Class of the preprocessor of images."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> ImageText:
        """Returns the contrast of images and texts with both towers of `config`.

        `architecture` must be CLIPModel: others hold one tower.
        """
        self.check_both_towers(architecture)
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


FAMILY = Clip()
