"""An encoder that sees how light an image is, and a decoder that scores bins of colour for its places.

Only the encoder is used after training, or both, to colour.
"""

import jax
from flax import nnx
from jaxtyping import Array

from jaxssl.models.pretraining.image_decoder import ImageDecoder
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig


class Colorizer(nnx.Module):
    """The decoder makes the encoder's last maps twice as high and wide, `doublings` times."""

    def __init__(
        self,
        key: Array,
        encoder: ResNetConfig | VisionTransformerConfig,
        bins: int,
        *,
        decoder_width: int,
        doublings: int,
    ):
        first, second = jax.random.split(key)
        self.encoder = encoder.make(first, 1)
        self.decoder = ImageDecoder(
            second, encoder.features, decoder_width, bins, doublings=doublings
        )
