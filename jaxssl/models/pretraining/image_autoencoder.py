"""An encoder of images, a few numbers behind it, and a decoder that makes the image of them again.

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

DOUBLINGS = 3  # of the maps that the code becomes


class ImageAutoencoderModel(nnx.Module):
    """`code` numbers stand for an image of height x width between encoder and decoder."""

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
        features, places = encoder.features, rows * columns * maps
        self.code = Linear(keys[1], features, code, stddev=features**-0.5)
        self.maps = Linear(keys[2], code, places, stddev=code**-0.5)
        self.decoder = ImageDecoder(keys[3], maps, decoder_width, channels, doublings=DOUBLINGS)

    def decode(
        self, features: Float[Array, "batch features"], dtype: str
    ) -> Float[Array, "batch height width channels"]:
        """The image that features stand for, computed in `dtype`."""
        # Told how it lies, or XLA mixes up the rows of its gradient where both kernels are cut twice.
        code = constrain(self.code(features.astype(dtype)), "batch", None)
        maps = self.maps(code)
        image = self.decoder(maps.reshape(-1, *self.map_shape))
        return image[:, : self.shape[0], : self.shape[1]]


def map_shape(height: int, width: int, decoder_width: int) -> tuple[int, int, int]:
    """Rows, columns and channels of the maps that are doubled to at least height x width."""
    side = 2**DOUBLINGS
    return -(-height // side), -(-width // side), decoder_width * min(side, WIDEST)
