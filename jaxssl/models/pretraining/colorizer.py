"""An encoder that reads lightness, and a decoder that scores bins of colour (Zhang et al. 2016).

After training the encoder is used alone, or both to colour images.
"""

import jax
from flax import nnx
from jaxtyping import Array

from jaxssl.models.pretraining.image_decoder import ImageDecoder
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig


class Colorizer(nnx.Module):
    """An encoder of one channel, and a decoder from its last maps to scores of colours.

    Args:
      key: Random key of the initial parameters.
      encoder: Configuration of the encoder.
      bins: Number of bins of colour.
      decoder_width: Channels of the decoder's last stage.
      doublings: How many times the decoder doubles height and width of the encoder's last maps.
    """

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
