"""Masked autoencoder: predict the pixels of hidden patches of an image from the visible ones.

    loss = mean over images, mean over their hidden patches p of mean_d (f(visible patches)_pd - x_pd)^2

where x_p is the patch scaled to mean 0 and variance 1 (or as it is). The encoder sees only the visible
patches, a quarter by default, so that a large encoder is cheap; a light decoder gets mask tokens at the
positions of the others. The same number of patches of every image is hidden, chosen by a random order of
its own.

Deviations from the paper, with the reason for each:
  - The encoder's positions are those of its configuration; the paper's are fixed sines and cosines, which
    those of the decoder are here, too.
  - Kernels are drawn from normal distributions of `initializer_range`; theirs from Xavier's uniform one.
  - Registers, where the encoder has them, go through the decoder as the class token does; theirs has none.
  - The number of hidden patches is rounded to the nearest; their code rounds that of the visible ones down
    (the same at 75 %).

References:
  He et al. 2022, "Masked autoencoders are scalable vision learners", section 3.

    batch    images                               seen     visible patches of an image, static
    patches  patches of an image, row by row      width    width of the states
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.augment import Augmentation, RandomResizedCrop, fold
from jaxssl.errors import InputError, check_share, checked
from jaxssl.models.blocks import States
from jaxssl.models.layers.patches import split_patches
from jaxssl.models.pretraining.masked_patches import MaskedPatchModel
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig, check_reads_patches
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import (
    KeyedImages,
    Metrics,
    draw,
    mean_metrics,
    random_order,
)
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.corruption.positions import read_at

VIEW, HIDDEN = range(2)  # numbers that are folded into an image's key, one for each use


@dataclass(frozen=True)
@checked
class MaskedAutoencoder(Objective):
    """Predicts the pixels of hidden patches (He et al. 2022, section 3)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    encoder: VisionTransformerConfig
    """Network that reads the visible patches."""
    decoder: TransformerConfig
    """Blocks of the decoder, usually few and narrow."""
    mask_ratio: float = 0.75
    """Fraction of the patches of each image that are hidden and predicted, above 0 and below 1."""
    normalize_target: bool = True
    """Whether each patch is scaled to mean 0 and variance 1 before it is compared."""
    views: Augmentation = Augmentation(crop=RandomResizedCrop((0.2, 1.0), filter="bicubic"))
    """Augmentation of the images."""

    def __post_init__(self) -> None:
        check_share(self, "mask_ratio", zero=False)
        check_reads_patches(self.encoder)
        # Raises an error where these cannot be blocks of a vision transformer.
        VisionTransformerConfig(self.decoder, self.encoder.patch)

    def init(self, key: Array, spec: Any) -> MaskedPatchModel:
        """Makes encoder and decoder for images as in `spec`, with parameters drawn by `key`."""
        patches = self._patches(spec)
        seen = self.seen(patches)
        if not 0 < seen < patches:
            raise InputError(
                f"mask_ratio={self.mask_ratio} leaves {seen} of {patches} patches visible; set another "
                f"mask_ratio, or encoder.patch below {self.encoder.patch}"
            )
        return MaskedPatchModel(key, self.encoder, self.decoder, spec.channels)

    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Gives every image of the global `batch` a random key of its own, made from `key`, and a weight."""
        return draw(batch, key)

    def loss(
        self, model: MaskedPatchModel, state: Any, examples: KeyedImages, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """Computes the weighted sum of the errors of these images.

        Args:
          model: Encoder and decoder.
          state: Returned as it is.
          examples: Images with keys, `[batch, height, width, channels]`.
          key: Random key of dropout; None for no dropout.

        Returns:
          The loss, a scalar, and (the state, metrics by name).
        """
        views = self.views(examples.pixels, fold(examples.keys, VIEW))
        targets = split_patches(views, self.encoder.patch)
        patches = targets.shape[1]
        order, ranks = random_order(fold(examples.keys, HIDDEN), patches)
        seen = self.seen(patches)
        predicted = self.predict(model, views, order[:, :seen], ranks, key)
        weights = (ranks >= seen) * (examples.weights / (patches - seen))[:, None]
        error = losses.masked_reconstruction(
            predicted,
            targets,
            weights,
            normalize_target=self.normalize_target,
            normalize=False,
        )
        return error, (state, mean_metrics(examples, loss=error))

    def predict(
        self,
        model: MaskedPatchModel,
        views: Float[Array, "batch height width channels"],
        seen: Int[Array, "batch seen"],
        ranks: Int[Array, "batch patches"],
        key: Array | None = None,
    ) -> Float[Array, "batch patches numbers"]:
        """Predicts the pixels of all patches from the visible ones.

        Args:
          model: Encoder and decoder.
          views: Images, `[batch, height, width, channels]`.
          seen: Positions of the visible patches, `[batch, seen]`.
          ranks: Rank of each patch in its image's random order, `[batch, patches]`; a patch is visible if
            its rank is below `seen`.
          key: Random key of dropout; None for no dropout.

        Returns:
          Pixels of the patches, `[batch, patches, patch * patch * channels]`.
        """
        encoder_key, decoder_key = (None, None) if key is None else jax.random.split(key)
        states = read_at(model.encoder.embed(views), seen)
        states = model.narrow(model.encoder.run(states, encoder_key))
        first, states = states[:, : self.encoder.first], states[:, self.encoder.first :]
        rows, columns = (side // self.encoder.patch for side in views.shape[1:3])
        everywhere = in_order(states, model.masks(states, rows * columns - seen.shape[1]), ranks)
        return model.decode(first, everywhere, rows, columns, decoder_key)

    def seen(self, patches: int) -> int:
        """Returns how many of so many `patches` are visible."""
        return patches - round(self.mask_ratio * patches)

    def _patches(self, spec: Any) -> int:
        """Returns the number of patches of a view."""
        height, width = self.views.size or (spec.height, spec.width)
        patch = self.encoder.patch
        if height % patch or width % patch:
            raise InputError(
                f"encoder.patch={patch} does not divide views of {height}x{width} pixels; set "
                "encoder.patch to a divisor of both sides, or views.size to multiples of it"
            )
        return (height // patch) * (width // patch)


def in_order(seen: States, masks: States, ranks: Int[Array, "batch patches"]) -> States:
    """Puts the states of visible patches and mask tokens to their positions.

    Args:
      seen: States of the visible patches, `[batch, seen, width]`.
      masks: Mask tokens, `[batch, patches - seen, width]`.
      ranks: Rank of each patch in its image's random order, `[batch, patches]`.

    Returns:
      States of all patches, `[batch, patches, width]`.
    """
    return read_at(jnp.concatenate([seen, masks], axis=1), ranks)
