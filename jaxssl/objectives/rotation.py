"""Rotation (RotNet): predict by how many quarter turns an image was rotated.

    loss = mean over images x and rotations r = 0, 1, 2, 3 of -log p(r | x rotated by r quarter turns)

All four rotations of an image are in the batch. They are made on the device, from the view of the image, and
need no resampling: only the content of the image distinguishes them.

Deviations from the paper, with the reason for each:
  - The network is any encoder with a dense layer; theirs are a Network-in-Network and AlexNet, of which
    layers in the middle are used (an encoder is used as a whole here).
  - By default the images are mirrored at random, but not cropped; theirs also crops at random, of a random
    area on ImageNet and of the padded image on CIFAR-10. `views` adds crops of a random area.
  - The update rule is that of a recipe, AdamW with a cosine; theirs is SGD with Nesterov's momentum, whose
    learning rate falls in steps.

References:
  Gidaris et al. 2018, "Unsupervised representation learning by predicting image rotations", section 2.

    batch    images                rotated   their rotations, beside each other: 4 x batch
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.augment import Augmentation
from jaxssl.errors import InputError, checked
from jaxssl.models.pretraining.image_classifier import ImageClassifier
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import KeyedImages, Metrics, draw, mean_metrics
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.joint_embedding.batch_statistics import (
    first_statistics,
    statistics_for,
    update_statistics,
)

ROTATIONS = 4


@dataclass(frozen=True)
@checked
class Rotation(Objective):
    """Predicts how an image was rotated (Gidaris et al. 2018, section 2)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    encoder: ResNetConfig | VisionTransformerConfig
    """Network for images."""
    hidden: tuple[int, ...] = ()
    """Widths of hidden layers between the features and the four classes."""
    views: Augmentation = Augmentation(crop=None)
    """Augmentation of an image before it is rotated."""

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise InputError(f"hidden={self.hidden} must be widths of layers, e.g. (256,), or ()")

    def init(self, key: Array, spec: Any) -> ImageClassifier:
        """Makes encoder and head for images as in `spec`, with parameters drawn by `key`."""
        height, width = self._size(spec)
        if height != width:
            raise InputError(
                f"views of {height}x{width} have another shape when they are rotated; prepare square "
                "images, or set views.size"
            )
        return ImageClassifier(key, self.encoder, spec.channels, (*self.hidden, ROTATIONS))

    def init_state(self, model: ImageClassifier) -> Any:
        """Makes the running statistics of the batch norms of `model`."""
        return {"statistics": first_statistics(model)}

    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Gives every image of the global `batch` a random key of its own, made from `key`, and a weight."""
        return draw(batch, key)

    def loss(
        self, model: ImageClassifier, state: Any, examples: KeyedImages, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """Computes the weighted sum of the losses of these images.

        Args:
          model: Encoder and head.
          state: Running statistics of batch norms.
          examples: Images with keys, `[batch, height, width, channels]`.
          key: Random key of dropout; None in evaluation, where batch norms take the running statistics.

        Returns:
          The loss in nats, a scalar, and (the state with moved statistics, metrics by name).
        """
        rotated, labels = rotate_four_ways(self.views(examples.pixels, examples.keys))
        own = statistics_for(state, key)
        logits, moments = model(
            rotated, key=key, statistics=None if own is None else own["encoder"]
        )
        weights = jnp.repeat(examples.weights / ROTATIONS, ROTATIONS)
        nats = losses.masked_lm(logits, labels, weights, normalize=False)
        right = (jnp.argmax(logits, axis=-1) == labels) @ weights
        if key is not None:
            state = update_statistics(state, {"encoder": moments})
        return nats, (state, mean_metrics(examples, loss=nats, accuracy=right))

    def _size(self, spec: Any) -> tuple[int, int]:
        return self.views.size or (spec.height, spec.width)


def rotate_four_ways(
    images: Float[Array, "batch side side channels"],
) -> tuple[Float[Array, "rotated side side channels"], Int[Array, " rotated"]]:
    """Rotates each image counterclockwise by 0, 1, 2 and 3 quarter turns.

    Args:
      images: Square images, `[batch, side, side, channels]`.

    Returns:
      The four rotations of each image beside each other, `[4 batch, side, side, channels]`, and by how many
      quarter turns each was rotated, `[4 batch]`.
    """
    ways = [jnp.rot90(images, quarters, axes=(1, 2)) for quarters in range(ROTATIONS)]
    labels = jnp.tile(jnp.arange(ROTATIONS), len(images))
    return jnp.stack(ways, axis=1).reshape(-1, *images.shape[1:]), labels
