"""Colorization: which colour has every place of an image of which only the lightness is seen?

    loss = mean over places of v_q sum_q -z_q log p_q(L),   v_q = weight of the nearest bin of the place

where z shares the colour (a, b) of a place among its nearest bins (`colour_bins.py`) and v, high for rare
colours, has mean 1. Zhang et al. 2016, "Colorful image colorization", section 2. The prior of the colours is
that of all batches before this one: the objective's state counts them.

    batch    images       rows, columns   places whose colour is told: of the decoder's result
    bins     of colours   lightness       L, from -1 to 1
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.augment import Augmentation, lab_to_rgb, rgb_to_lab
from jaxssl.errors import InputError
from jaxssl.models.pretraining.colorizer import Colorizer
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
from jaxssl.objectives.prediction.colour_bins import BINS, annealed_mean, rebalance, soft_bins

View = Float[Array, "batch height width channels"]


@dataclass(frozen=True)
class Colorization(Objective):
    """Tell the colours of an image from its lightness (Zhang et al. 2016, section 2)."""

    encoder: ResNetConfig | VisionTransformerConfig
    decoder_width: int = 64  # channels of the decoder's last stage
    doublings: int = 1  # by which the decoder makes the encoder's last maps higher and wider
    mix: float = 0.5  # share of the uniform prior; 1: all colours weigh the same
    temperature: float = 0.38  # of the mean that colours an image; training does not know it
    views: Augmentation = Augmentation(crop=None)

    def __post_init__(self) -> None:
        if self.decoder_width < 1:
            raise InputError(f"decoder_width={self.decoder_width} must be at least 1")
        if self.doublings < 0 or self.encoder.stride % 2**self.doublings:
            raise InputError(
                f"doublings={self.doublings}: the encoder's maps have a place for {self.encoder.stride} "
                "pixels, which must be a multiple of 2 ** doublings"
            )
        if not 0 < self.mix <= 1:
            raise InputError(f"mix={self.mix} must be above 0 and at most 1, e.g. 0.5")
        if self.temperature <= 0:
            raise InputError(f"temperature={self.temperature} must be above 0, e.g. 0.38")

    def init(self, key: Array, spec: Any) -> Colorizer:
        """Encoder and decoder, for images as `spec` describes them."""
        height, width = self._size(spec)
        if spec.channels != 3:
            raise InputError("the images have no colours to tell; prepare them with 3 channels")
        if height % self.encoder.stride or width % self.encoder.stride:
            raise InputError(
                f"views of {height}x{width} are not made of the encoder's places of "
                f"{self.encoder.stride}x{self.encoder.stride} pixels; set views.size to multiples"
            )
        return Colorizer(
            key,
            self.encoder,
            len(BINS),
            decoder_width=self.decoder_width,
            doublings=self.doublings,
        )

    def init_state(self, model: Colorizer) -> Any:
        """No colour was counted yet: all are as likely."""
        return {
            "statistics": first_statistics(model),
            "prior": jnp.full(len(BINS), 1 / len(BINS)),
            "counts": jnp.zeros(len(BINS)),
        }

    def follow(self, state: Any, model: Colorizer, step: Array) -> Any:
        """The prior of the next step, from all that was counted."""
        return {**state, "prior": state["counts"] / state["counts"].sum()}

    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Keys of views; weights are normalised over the global batch."""
        return draw(batch, key)

    def loss(
        self, model: Colorizer, state: Any, examples: KeyedImages, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """The weighted sum over these images; counts their colours where there is a key."""
        lab = rgb_to_lab(self.views(examples.pixels, examples.keys))
        logits, moments = self._scores(model, lightness_of(lab), state, key)
        rows, columns = logits.shape[1:3]
        soft, nearest = soft_bins(_means(lab[..., 1:], rows, columns))
        weights = (examples.weights / (rows * columns))[:, None, None]
        rare = rebalance(state["prior"], self.mix)[nearest]
        nats = -(soft * jax.nn.log_softmax(logits)).sum(axis=-1)
        loss = (weights * rare * nats).sum()
        right = (weights * (jnp.argmax(logits, axis=-1) == nearest)).sum()
        if key is not None:
            counts = (weights[..., None] * soft).sum(axis=(0, 1, 2))
            state = moved(state, {"encoder": moments})
            state = {**state, "counts": state["counts"] + counts}
        return loss, (state, mean_metrics(examples, loss=loss, accuracy=right))

    def inputs(self, pixels: View) -> Float[Array, "batch height width 1"]:
        """What the encoder reads of colours from 0 to 1."""
        return lightness_of(rgb_to_lab(pixels))

    def colour(self, model: Colorizer, state: Any, pixels: View) -> View:
        """The images in the colours that the model gives them; of the colours only the lightness is read."""
        lab = rgb_to_lab(pixels)
        logits, _ = self._scores(model, lightness_of(lab), state, None)
        small = annealed_mean(logits, self.temperature)
        ab = jax.image.resize(small, (*pixels.shape[:3], 2), "bilinear")
        return lab_to_rgb(jnp.concatenate([lab[..., :1], ab], axis=-1))

    def _scores(
        self, model: Colorizer, lightness: View, state: Any, key: Array | None
    ) -> tuple[Float[Array, "batch rows columns bins"], Any]:
        own = statistics_for(state, key)
        maps, moments = model.encoder.maps(
            lightness, key=key, statistics=None if own is None else own["encoder"]
        )
        return model.decoder(maps), moments

    def _size(self, spec: Any) -> tuple[int, int]:
        return self.views.size or (spec.height, spec.width)


def lightness_of(lab: View) -> Float[Array, "batch height width 1"]:
    """L from -1, black, to 1, white."""
    return lab[..., :1] / 50 - 1


def _means(
    ab: Float[Array, "batch height width 2"], rows: int, columns: int
) -> Float[Array, "batch rows columns 2"]:
    """The mean of the pixels of every place."""
    batch, height, width, _ = ab.shape
    return ab.reshape(batch, rows, height // rows, columns, width // columns, 2).mean(axis=(2, 4))
