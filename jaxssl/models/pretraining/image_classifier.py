"""An encoder of images with a perceptron that scores a few classes, such as labels or rotations."""

from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.layers.mlp import MLP
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig


class ImageClassifier(nnx.Module):
    """An encoder and a perceptron on its features.

    Args:
      key: Random key of the initial parameters.
      encoder: Configuration of the encoder.
      channels: Channels of the images.
      widths: Widths of the perceptron's layers behind the features; the last is the number of classes.
    """

    # The encoder's own lines are in its file. There are too few classes to shard them.
    layout = (
        (r"classifier/layers/\d+/kernel", ("embed", None)),
        (r"classifier/layers/\d+/bias", (None,)),
    )

    def __init__(
        self,
        key: Array,
        encoder: ResNetConfig | VisionTransformerConfig,
        channels: int,
        widths: tuple[int, ...],
    ):
        first, second = jax.random.split(key)
        self.encoder = encoder.make(first, channels)
        self.classifier = MLP(second, (encoder.features, *widths))

    def __call__(
        self,
        pixels: Float[Array, "batch height width channels"],
        *,
        key: Array | None = None,
        statistics: Any = None,
    ) -> tuple[Float[Array, "batch classes"], Any]:
        """Scores the classes of images.

        Args:
          pixels: Images, `[batch, height, width, channels]`.
          key: Random key of the encoder's dropout. `None`: no dropout.
          statistics: Running statistics of the encoder's batch norms. `None`: they use the moments of
            this batch.

        Returns:
          Logits of the classes, float32 `[batch, classes]`, and the moments that the batch norms used.
        """
        features, moments = self.encoder(pixels, key=key, statistics=statistics)
        return self.classifier(features)[0], moments
