"""An encoder of images, a code of a few numbers, and a decoder that reconstructs the image from the code.

    pixels -> encoder -> features -> dense -> code -> dense -> maps -> convolutions -> pixels

Only the encoder is used after training.
"""

import jax
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.layers.dense import Linear
from jaxssl.models.pretraining.image_decoder import WIDEST, ImageDecoder
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.sharding.layout import constrain

DOUBLINGS = 3  # how many times the decoder doubles height and width


class ImageAutoencoderModel(nnx.Module):
    """An autoencoder of images of one size.

    Args:
      key: Random key of the initial parameters.
      encoder: Configuration of the encoder.
      height: Height of the images in pixels.
      width: Width of the images in pixels.
      channels: Channels of the images.
      code: Numbers that describe an image between encoder and decoder.
      decoder_width: Channels of the decoder's last stage.
    """

    # The lines of encoder and decoder are in their own files.
    layout = (
        (r"(?:code|maps)/kernel", ("embed", "mlp")),
        (r"(?:code|maps)/bias", ("mlp",)),
    )

    def __init__(
        self,
        key: Array,
        encoder: ResNetConfig | VisionTransformerConfig,
        height: int,
        width: int,
        channels: int,
        *,
        code: int,
        decoder_width: int,
    ):
        keys = jax.random.split(key, 4)
        rows, columns, maps = map_shape(height, width, decoder_width)
        self.shape = (height, width)
        self.map_shape = (rows, columns, maps)
        self.encoder = encoder.make(keys[0], channels)
        features, numbers = encoder.features, rows * columns * maps
        self.code = Linear(keys[1], features, code, stddev=features**-0.5)
        self.maps = Linear(keys[2], code, numbers, stddev=code**-0.5)
        self.decoder = ImageDecoder(keys[3], maps, decoder_width, channels, doublings=DOUBLINGS)

    def decode(
        self, features: Float[Array, "batch features"], dtype: str
    ) -> Float[Array, "batch height width channels"]:
        """Reconstructs images from their features.

        Args:
          features: Features of the encoder, `[batch, features]`.
          dtype: Type that is computed in.

        Returns:
          Images, float32 `[batch, height, width, channels]`.
        """
        # Without a constraint XLA mixes up the rows of the gradient where both kernels are sharded
        # along both axes.
        code = constrain(self.code(features.astype(dtype)), "batch", None)
        maps = self.maps(code)
        image = self.decoder(maps.reshape(-1, *self.map_shape))
        return image[:, : self.shape[0], : self.shape[1]]


def map_shape(height: int, width: int, decoder_width: int) -> tuple[int, int, int]:
    """Computes the shape of the maps that the decoder doubles to at least the size of an image.

    Args:
      height: Height of the image in pixels.
      width: Width of the image in pixels.
      decoder_width: Channels of the decoder's last stage.

    Returns:
      Rows, columns and channels of the maps.
    """
    side = 2**DOUBLINGS
    return -(-height // side), -(-width // side), decoder_width * min(side, WIDEST)
