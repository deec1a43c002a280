"""ViT-MAE (He et al. 2022): ViTMAEForPreTraining and ViTMAEModel.

Positions are tables of sines and cosines in their files, which no training changes. They are computed here;
a folder with other tables is refused.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jaxssl.augment import Augmentation, RandomResizedCrop
from jaxssl.augment.recipes import IMAGENET_MEAN, IMAGENET_STD
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import flag, real, whole
from jaxssl.interop.huggingface.families.bert import dense, norm
from jaxssl.interop.huggingface.families.vision import (
    FIRST,
    check_blocks,
    check_fields,
    first_views,
    sine_table,
    square_patch,
)
from jaxssl.interop.huggingface.families.vit import (
    BARE,
    PLAIN,
    Vit,
    blocks_config,
    encoder_fields,
    layer_rules,
    positions_size,
    sine_constants,
)
from jaxssl.interop.huggingface.image_settings import image_size, normalized
from jaxssl.interop.huggingface.rules import Rule
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives.masked_autoencoder import MaskedAutoencoder

VIEWS = Augmentation(crop=RandomResizedCrop((0.2, 1.0), filter="bicubic"))
NAMES = {
    "hidden_size": "decoder_hidden_size",
    "num_hidden_layers": "decoder_num_hidden_layers",
    "num_attention_heads": "decoder_num_attention_heads",
    "intermediate_size": "decoder_intermediate_size",
}


@dataclass(frozen=True)
class VitMae(Vit):
    """Folders with the model_type vit_mae."""

    base: ClassVar[str] = "ViTMAEForPreTraining"
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> Any:
        """Returns the masked autoencoder of `config`; the `architecture` ViTMAEModel has a new decoder."""
        encoder = VisionTransformerConfig(blocks_config(config), patch=square_patch(config))
        defaults = {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 16}
        defaults |= {"intermediate_size": 2048}
        sizes = {name: whole(config, own, defaults[name]) for name, own in NAMES.items()}
        height, width = image_size(config)
        if height != width:
            raise InputError(
                f"config.json has image_size={[height, width]}; the images of ViT-MAE are square"
            )
        return MaskedAutoencoder(
            encoder,
            blocks_config({**config, **sizes}),
            mask_ratio=_mask_ratio(config, (height // encoder.patch) ** 2),
            normalize_target=flag(config, "norm_pix_loss", False),
            views=normalized(VIEWS, config, (IMAGENET_MEAN, IMAGENET_STD)),
        )

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of encoder and decoder of an `objective` for an `architecture`."""
        rules = [*super().rules(objective, architecture)]
        if architecture in BARE:
            return rules
        rules += dense("decoder.decoder_embed", "narrow")
        rules.append(Rule("decoder.mask_token", ("mask",), FIRST))
        # transformers 5 writes the second name, and reads both.
        alias = "decoder.decoder_encoder.layer"
        rules += layer_rules(
            "decoder.decoder_layers", "decoder/layers", objective.decoder, alias=alias
        )
        rules += norm("decoder.decoder_norm", "decoder/final_norm")
        return rules + dense("decoder.decoder_pred", "patches")

    def constants(self, objective: Any, spec: Any, architecture: str) -> Mapping[str, np.ndarray]:
        """Returns the tables of positions of encoder and decoder of an `objective`, for images as in `spec`.

        `architecture` is the class of the folder.
        """
        bare = architecture in BARE
        found = sine_constants("" if bare else "vit.", objective, spec)
        if not bare:
            encoder = objective.encoder
            size = positions_size(encoder, first_views(objective), spec)
            table = sine_table(*size, encoder.patch, objective.decoder.width)
            found["decoder.decoder_pos_embed"] = table
        return found

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on images as in `spec`, for an `architecture`."""
        encoder, decoder = objective.encoder, objective.decoder
        check_fields(
            encoder, "the encoder", "ViT-MAE", {"pooling": "token", "positions": "sine"} | PLAIN
        )
        check_blocks(decoder, "ViT-MAE")
        same = ("norm_epsilon", "activation", "qkv_bias")
        check_fields(
            decoder, "the decoder", "ViT-MAE", {one: getattr(encoder.blocks, one) for one in same}
        )
        fields = encoder_fields(objective, spec, "ViT-MAE")
        side = fields["image_size"]
        if not isinstance(side, int):
            raise InputError(f"the images of ViT-MAE are square, and these are {side}")
        sizes = (decoder.width, decoder.depth, decoder.heads, decoder.inner)
        return (
            fields
            | dict(zip(NAMES.values(), sizes, strict=True))
            | {
                "architectures": [architecture],
                "model_type": "vit_mae",
                "mask_ratio": _their_ratio(objective, (side // encoder.patch) ** 2),
                "norm_pix_loss": objective.normalize_target,
            }
        )

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        if not isinstance(objective, MaskedAutoencoder):
            raise InputError(f"a {type(objective).__name__} has no network of ViT-MAE")
        return "ViTMAEForPreTraining"


def _seen(ratio: float, patches: int) -> int:
    """How many of so many patches their code leaves visible."""
    return int(patches * (1 - ratio))


def _mask_ratio(config: Mapping[str, Any], patches: int) -> float:
    """The ratio with which ours leaves as many patches visible as theirs, which rounds down."""
    ratio = real(config, "mask_ratio", 0.75)
    seen = _seen(ratio, patches)
    if not 0 < seen < patches:
        raise InputError(
            f"config.json has mask_ratio={ratio}, which leaves {seen} of {patches} patches visible; it must "
            "leave at least one visible and one hidden"
        )
    same = patches - round(ratio * patches) == seen
    return ratio if same else (patches - seen) / patches


def _their_ratio(objective: MaskedAutoencoder, patches: int) -> float:
    """The ratio with which theirs leaves as many patches visible as ours."""
    seen = objective.seen(patches)
    if _seen(objective.mask_ratio, patches) == seen:
        return objective.mask_ratio
    ratio = 1 - seen / patches
    return ratio if _seen(ratio, patches) == seen else math.nextafter(ratio - 1e-9, 0)


FAMILY = VitMae()
