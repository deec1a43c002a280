"""Autoencoder on images: reconstruct an image from a narrow code, with or without corruption of the input.

    loss = mean over images of mean over pixels of (decoder(code(encoder(corrupted x))) - x)^2

Deviations from the papers, with the reason for each:
  - The error is squared; Vincent et al. 2008 take the cross-entropy of pixels as probabilities (colours are
    none).
  - The layers are trained together; the papers pretrain them one by one (batches, norms and Adam made that
    unnecessary).
  - The networks are convolutional or transformers, and kernels are not tied; theirs are dense and tied.
  - All channels of a hidden pixel are 0; their images have one channel.
  - Nothing bounds the reconstruction; theirs ends with a sigmoid, which their cross-entropy needs.
  - The code is linear, as that of Hinton & Salakhutdinov; that of Vincent et al. ends with a sigmoid, and may
    be wider than the image, as the corruption alone keeps it from a copy.
  - The whole reconstruction is compared with equal weights; Vincent et al. 2010 may stress hidden pixels.

References:
  Hinton & Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks" (the narrow code);
  Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders", section 2.3
  (the same number of pixels of every image is set to 0); Vincent et al. 2010, "Stacked denoising
  autoencoders", section 4.2 (Gaussian noise).

    batch    images            code     numbers that an image is encoded in
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxssl import losses
from jaxssl.augment import Augmentation, fold
from jaxssl.errors import check_at_least, check_share, checked
from jaxssl.models.pretraining.image_autoencoder import ImageAutoencoderModel
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives.batches.batch import Images, Ratio
from jaxssl.objectives.batches.keyed_images import (
    KeyedImages,
    Metrics,
    draw,
    mean_metrics,
    random_order,
)
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.joint_embedding.batch_statistics import (
    first_statistics,
    statistics_for,
    update_statistics,
)

VIEW, HIDDEN, NOISE = range(3)  # numbers that are folded into an image's key, one for each use

View = Float[Array, "batch height width channels"]


@dataclass(frozen=True)
@checked
class ImageAutoencoder(Objective):
    """Reconstructs an image from a code (Vincent et al. 2008)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    encoder: ResNetConfig | VisionTransformerConfig
    """Network for images."""
    code: int = 128
    """Width of the code between encoder and decoder."""
    mask_ratio: float = 0.0
    """Fraction of the pixels of each image that are set to 0, from 0 to below 1."""
    noise: float = 0.0
    """Standard deviation of the Gaussian noise that is added to pixels, whose values are from 0 to 1."""
    decoder_width: int = 32
    """Channels of the decoder's last stage."""
    views: Augmentation = Augmentation(crop=None)
    """Augmentation of the images, before they are corrupted."""

    def __post_init__(self) -> None:
        check_share(self, "mask_ratio")
        check_at_least(self, 0, "noise")
        check_at_least(self, 1, "code", "decoder_width")

    def init(self, key: Array, spec: Any) -> ImageAutoencoderModel:
        """Makes encoder and decoder for images as in `spec`, with parameters drawn by `key`."""
        height, width = self._size(spec)
        return ImageAutoencoderModel(
            key,
            self.encoder,
            height,
            width,
            spec.channels,
            code=self.code,
            decoder_width=self.decoder_width,
        )

    def init_state(self, model: ImageAutoencoderModel) -> Any:
        """Makes the running statistics of the batch norms of `model`."""
        return {"statistics": first_statistics(model)}

    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Gives every image of the global `batch` a random key of its own, made from `key`, and a weight."""
        return draw(batch, key)

    def loss(
        self, model: ImageAutoencoderModel, state: Any, examples: KeyedImages, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """Computes the weighted sum of the errors of these images.

        Args:
          model: Encoder, code and decoder.
          state: Running statistics of batch norms.
          examples: Images with keys, `[batch, height, width, channels]`.
          key: Random key of dropout; None in evaluation, where batch norms take the running statistics.

        Returns:
          The loss, a scalar, and (the state with moved statistics, metrics by name).
        """
        views = self.views(examples.pixels, fold(examples.keys, VIEW))
        own = statistics_for(state, key)
        features, moments = model.encoder(
            self.damage(views, examples.keys),
            key=key,
            statistics=None if own is None else own["encoder"],
        )
        images = model.decode(features, self.encoder.compute_dtype)
        predicted, targets = (x.reshape(len(x), -1) for x in (images, views))
        error = losses.masked_reconstruction(predicted, targets, examples.weights, normalize=False)
        if key is not None:
            state = update_statistics(state, {"encoder": moments})
        return error, (state, self._metrics(error, targets, examples))

    def damage(self, views: View, keys: Key[Array, " batch"]) -> View:
        """Adds noise to images, and then sets the same number of pixels of every image to 0.

        Args:
          views: Images, `[batch, height, width, channels]`.
          keys: Random key of each image, `[batch]`.

        Returns:
          Corrupted images, `[batch, height, width, channels]`.
        """
        batch, height, width, channels = views.shape
        if self.noise:
            shape = views.shape[1:]
            drawn = jax.vmap(lambda key: jax.random.normal(key, shape))(fold(keys, NOISE))
            views = views + self.noise * drawn
        if self.mask_ratio:
            _, ranks = random_order(fold(keys, HIDDEN), height * width)
            stays = ranks >= round(self.mask_ratio * height * width)
            views = jnp.where(stays.reshape(batch, height, width, 1), views, 0.0)
        return views

    def _metrics(self, error: Array, targets: Array, examples: KeyedImages) -> Metrics:
        """Returns the loss, and the share of the variance of each image about its mean that is explained."""
        variance = examples.weights @ targets.var(axis=1)
        total = examples.total[0]
        explained = Ratio((variance - error) * total, variance * total)
        return {**mean_metrics(examples, loss=error), "explained": explained}

    def _size(self, spec: Any) -> tuple[int, int]:
        return self.views.size or (spec.height, spec.width)
