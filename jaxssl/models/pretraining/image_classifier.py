"""An encoder of images and a perceptron that tells one of a few classes: labels, or how it was turned."""

from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.layers.mlp import MLP
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig


class ImageClassifier(nnx.Module):
    """`widths` are those of the layers behind the features; the last is the number of classes."""

    # The encoder's own lines are in its file. There are too few classes to cut them.
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
        """Scores of the classes, float32, and moments of the encoder's batch norms."""
        features, moments = self.encoder(pixels, key=key, statistics=statistics)
        return self.classifier(features)[0], moments
