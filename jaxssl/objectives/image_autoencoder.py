"""Autoencoder on images: the image again, from a few numbers, after some of it was destroyed or none.

    loss = mean over images of mean over pixels of (decoder(code(encoder(damaged x))) - x)^2

Hinton & Salakhutdinov 2006 (the code is narrow); Vincent et al. 2008, "Extracting and composing robust
features with denoising autoencoders", section 2.3 (just as many of every image's pixels are set to 0) and
Vincent et al. 2010, section 4.2 (Gaussian noise).

    batch    images            code     numbers that stand for an image
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxssl import losses
from jaxssl.augment import Augmentation, fold
from jaxssl.errors import InputError
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
from jaxssl.objectives.contract import Objective, moving_average

VIEW, HIDDEN, NOISE = range(3)  # what is folded into an image's key
DECAY = 0.9  # of the running statistics of batch norms

View = Float[Array, "batch height width channels"]


@dataclass(frozen=True)
class ImageAutoencoder(Objective):
    """Make the image again, from a code (Vincent et al. 2008)."""

    encoder: ResNetConfig | VisionTransformerConfig
    code: int = 128  # numbers between encoder and decoder
    hidden: float = 0.0  # share of the pixels that are set to 0
    noise: float = 0.0  # deviation of what is added to all; pixels lie between 0 and 1
    decoder_width: int = 32  # channels of the decoder's last stage
    views: Augmentation = Augmentation(crop=None)

    def __post_init__(self) -> None:
        if not 0 <= self.hidden < 1:
            raise InputError(f"hidden={self.hidden} must be at least 0 and below 1, e.g. 0.25")
        if self.noise < 0:
            raise InputError(f"noise={self.noise} must not be negative, e.g. 0.1")
        for name in ("code", "decoder_width"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1")

    def init(self, key: Array, spec: Any) -> ImageAutoencoderModel:
        """Encoder and decoder, for images as `spec` describes them."""
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
        """Running statistics of batch norms, none without them."""
        return {"statistics": {"encoder": model.encoder.first_statistics()}}

    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Keys of views and of damage; weights are normalised over the global batch."""
        return draw(batch, key)

    def loss(
        self, model: ImageAutoencoderModel, state: Any, examples: KeyedImages, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """The weighted sum over these images. Without a key batch norms take the running statistics."""
        views = self.views(examples.pixels, fold(examples.keys, VIEW))
        own = state["statistics"]["encoder"] if key is None else None
        features, moments = model.encoder(
            self.damage(views, examples.keys), key=key, statistics=own
        )
        images = model.decode(features, self.encoder.compute_dtype)
        predicted, targets = (x.reshape(len(x), -1) for x in (images, views))
        error = losses.masked_reconstruction(predicted, targets, examples.weights, normalize=False)
        if key is not None:
            moments = jax.lax.stop_gradient(moments)
            old = state["statistics"]["encoder"]
            state = {"statistics": {"encoder": moving_average(old, moments, DECAY)}}
        return error, (state, self._metrics(error, targets, examples))

    def damage(self, views: View, keys: Key[Array, " batch"]) -> View:
        """Noise, then pixels set to 0, just as many of every image."""
        batch, height, width, channels = views.shape
        if self.noise:
            shape = views.shape[1:]
            drawn = jax.vmap(lambda key: jax.random.normal(key, shape))(fold(keys, NOISE))
            views = views + self.noise * drawn
        if self.hidden:
            _, ranks = random_order(fold(keys, HIDDEN), height * width)
            stays = ranks >= round(self.hidden * height * width)
            views = jnp.where(stays.reshape(batch, height, width, 1), views, 0.0)
        return views

    def _metrics(self, error: Array, targets: Array, examples: KeyedImages) -> Metrics:
        """The loss, and the share of the images' variance about their own means that is explained."""
        variance = examples.weights @ targets.var(axis=1)
        total = examples.total[0]
        explained = Ratio((variance - error) * total, variance * total)
        return {**mean_metrics(examples, loss=error), "explained": explained}

    def _size(self, spec: Any) -> tuple[int, int]:
        return self.views.size or (spec.height, spec.width)
