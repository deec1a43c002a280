"""Rotation: by how many quarter turns was an image turned?

    loss = mean over images x and turns r = 0, 1, 2, 3 of -log p(r | x turned by r)

Gidaris et al. 2018, "Unsupervised representation learning by predicting image rotations", section 2. All
four rotations of an image are in the batch. They are made on the device, from the view of the image, and
need no resampling: nothing but what the image shows tells them apart.

    batch    images                turned    their rotations, beside each other: 4 x batch
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.augment import Augmentation
from jaxssl.errors import InputError
from jaxssl.models.pretraining.image_classifier import ImageClassifier
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import KeyedImages, Metrics, draw, mean_metrics
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.joint_embedding.batch_statistics import (
    first_statistics,
    moved,
    statistics_for,
)

TURNS = 4


@dataclass(frozen=True)
class Rotation(Objective):
    """Tell how an image was turned (Gidaris et al. 2018, section 2)."""

    encoder: ResNetConfig | VisionTransformerConfig
    hidden: tuple[int, ...] = ()  # widths of layers between the features and the four turns
    views: Augmentation = Augmentation(crop=None)  # before an image is turned

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise InputError(f"hidden={self.hidden} must be widths of layers, e.g. (256,), or ()")

    def init(self, key: Array, spec: Any) -> ImageClassifier:
        """Encoder and head, for images as `spec` describes them."""
        height, width = self._size(spec)
        if height != width:
            raise InputError(
                f"views of {height}x{width} have another shape when they are turned; prepare square "
                "images, or set views.size"
            )
        return ImageClassifier(key, self.encoder, spec.channels, (*self.hidden, TURNS))

    def init_state(self, model: ImageClassifier) -> Any:
        """Running statistics of batch norms, none without them."""
        return {"statistics": first_statistics(model)}

    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Keys of views; weights are normalised over the global batch."""
        return draw(batch, key)

    def loss(
        self, model: ImageClassifier, state: Any, examples: KeyedImages, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """The weighted sum over these images. Without a key batch norms take the running statistics."""
        turned, turns = turn(self.views(examples.pixels, examples.keys))
        own = statistics_for(state, key)
        logits, moments = model(turned, key=key, statistics=None if own is None else own["encoder"])
        weights = jnp.repeat(examples.weights / TURNS, TURNS)
        nats = losses.masked_lm(logits, turns, weights, normalize=False)
        right = (jnp.argmax(logits, axis=-1) == turns) @ weights
        if key is not None:
            state = moved(state, {"encoder": moments})
        return nats, (state, mean_metrics(examples, loss=nats, accuracy=right))

    def _size(self, spec: Any) -> tuple[int, int]:
        return self.views.size or (spec.height, spec.width)


def turn(
    images: Float[Array, "batch side side channels"],
) -> tuple[Float[Array, "turned side side channels"], Int[Array, " turned"]]:
    """Each image turned counterclockwise by 0, 1, 2 and 3 quarters, and by how many it was."""
    turned = jnp.stack([jnp.rot90(images, turns, axes=(1, 2)) for turns in range(TURNS)], axis=1)
    turns = jnp.tile(jnp.arange(TURNS), len(images))
    return turned.reshape(-1, *images.shape[1:]), turns
