"""SigLIP (Zhai et al. 2023): SiglipModel.

Images are pooled by attention of a learned query. Texts are padded to one length, the padding is read like
any token, and the last state of a row is projected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import require, whole
from jaxssl.interop.huggingface.families.bert import dense, norm
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
    FIRST,
    check_fields,
    square_patch,
)
from jaxssl.interop.huggingface.image_settings import (
    STANDARD,
    image_size,
    normalized,
)
from jaxssl.interop.huggingface.rules import Arrangement, Rule, split
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives.image_text import ImageText

TOKENS, LENGTH = 32_000, 64  # ids, and tokens of a text, where config.json says nothing
ONE_NUMBER = Arrangement(FIRST.inward, lambda arrays: arrays[0].reshape(1))
"""A number of ours, which theirs holds in an array of one."""
FUSED = ("query", "key", "value")


@dataclass(frozen=True)
class Siglip(TwoTowers):
    """Folders with the model_type siglip."""

    base: ClassVar[str] = "SiglipModel"
    """Architecture of a folder whose config.json names none."""
    kind: ClassVar[str] = "siglip"
    """Kind of the contrast."""
    name: ClassVar[str] = "SigLIP"
    """Name of the family in errors."""
    tokens: ClassVar[int] = TOKENS
    """Number of token ids where config.json says none."""
    processor: ClassVar[str] = "SiglipImageProcessor"
    """Class of the preprocessor of images."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> ImageText:
        """Returns the contrast of images and texts with both towers of `config`.

        `architecture` must be SiglipModel: others hold one tower.
        """
        self.check_both_towers(architecture)
        image, text = part_of(config, "vision_config"), part_of(config, "text_config")
        require(image, vision_use_head=True)
        encoder = VisionTransformerConfig(
            tower(image, 768, 12, "gelu_pytorch_tanh", 1e-6),
            patch=square_patch(image),
            pooling="attention",
            positions="learned",
            positions_size=image_size(image),
        )
        own = replace(
            tower(text, 768, 12, "gelu_pytorch_tanh", 1e-6),
            max_length=whole(text, "max_position_embeddings", LENGTH),
        )
        width = whole(text, "projection_size", own.width)
        if width != encoder.features:
            raise InputError(
                f"config.json has text_config.projection_size={width} and vision_config.hidden_size="
                f"{encoder.features}; embeddings of images and texts must have one width"
            )
        return ImageText(
            encoder,
            own,
            kind="siglip",
            width=width,
            views=normalized(VIEWS, image, STANDARD),
            pooling="last",
            reads_padding=True,
            projects_images=False,
            text_bias=True,
        )

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of both towers of an `objective`; `architecture` is SiglipModel."""
        return [
            *image_rules(objective.encoder),
            *head_rules("vision_model.head", "encoder/head", objective.encoder.features),
            *text_rules(),
            *dense("text_model.head", "text_projection"),
            Rule("logit_scale", ("logit_scale",), ONE_NUMBER),
            Rule("logit_bias", ("logit_bias",), ONE_NUMBER),
        ]

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on images as in `spec`, for an `architecture`."""
        encoder = objective.encoder
        wanted = {"pooling": "attention", "registers": 0, "patch_bias": True}
        wanted |= {"positions": "learned", "embedding_norm": False}
        check_fields(encoder, "the encoder", "SigLIP", wanted)
        check_fields(objective.text, "the network of texts", "SigLIP", {"causal": False})
        wanted = {"pooling": "last", "reads_padding": True}
        wanted |= {"projects_images": False, "text_bias": True}
        check_fields(objective, "the objective", "SigLIP", wanted)
        image = tower_fields(encoder.blocks, "SigLIP") | image_fields(objective, spec, "SigLIP")
        return {
            "architectures": [architecture],
            "model_type": "siglip",
            "vision_config": {"model_type": "siglip_vision_model"} | image,
            "text_config": {"model_type": "siglip_text_model"}
            | text_fields(objective.text, spec, "SigLIP")
            | {"projection_size": objective.width},
        }


def head_rules(theirs: str, ours: str, width: int) -> list[Rule]:
    """Returns the table of pooling by attention, whose queries, keys and values are fused in theirs.

    Args:
      theirs: Name of the head.
      ours: Path of ours.
      width: Width of the states.
    """
    sizes, attention = (width,) * 3, f"{theirs}.attention"
    kernels, biases = (
        tuple(f"{ours}/attention/{one}/{kind}" for one in FUSED) for kind in ("kernel", "bias")
    )
    rules = [
        Rule(f"{theirs}.probe", (f"{ours}/probe",), FIRST),
        Rule(f"{attention}.in_proj_weight", kernels, split(*sizes, transposed=True)),
        Rule(f"{attention}.in_proj_bias", biases, split(*sizes)),
    ]
    rules += dense(f"{attention}.out_proj", f"{ours}/attention/output")
    rules += norm(f"{theirs}.layernorm", f"{ours}/mlp_norm")
    rules += dense(f"{theirs}.mlp.fc1", f"{ours}/mlp/up")
    return rules + dense(f"{theirs}.mlp.fc2", f"{ours}/mlp/down")


FAMILY = Siglip()
