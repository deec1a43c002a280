"""Colorization: predict the colours of an image of which only the lightness is seen.

    loss = mean over positions of  v sum_q -z_q log p_q(L),   v = weight of the position's nearest bin

where z shares the colour (a, b) of a position among its nearest bins (`colour_bins.py`), and the weight v,
which is high for rare colours, has mean 1. How rare a colour is comes from all batches before this one: the
objective's state counts colours.

Deviations from the paper, with the reason for each:
  - There are 261 bins, not 313: those that colours of sRGB can have (`colour_bins.py`). A colour is shared
    among its 5 nearest bins, as in the paper; their code takes 10.
  - The prior of colours is counted in the run itself, without the paper's Gaussian smoothing; theirs is of
    ImageNet (any set of images will do). In the first step all colours have the same weight.
  - The loss is a mean over positions, theirs a sum (the learning rate then does not depend on the size).
  - A position's colour is the mean of its pixels' a and b; their code takes those of its first pixel.
  - Their code leaves out images without colours, whose a and b are all below 5; here they count (they are
    few, and gray is a colour, too).
  - The lightness is scaled to -1 to 1, theirs to -50 to 50 (the range of all other inputs here).
  - The network is an encoder with a decoder that doubles its maps; theirs is a VGG of dilated convolutions.
    Its update rule is that of a recipe; theirs is Adam, whose learning rate falls in steps.

References:
  Zhang et al. 2016, "Colorful image colorization", section 2.

    batch    images                rows, columns   height and width of the decoder's result
    bins     bins of colours       L               lightness, from -1 (black) to 1 (white)
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.augment import Augmentation, lab_to_rgb, rgb_to_lab
from jaxssl.errors import InputError, check_above, check_at_least, check_share, checked
from jaxssl.models.pretraining.colorizer import Colorizer
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig, check_reads_patches
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import KeyedImages, Metrics, draw, mean_metrics
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.joint_embedding.batch_statistics import (
    first_statistics,
    statistics_for,
    update_statistics,
)
from jaxssl.objectives.prediction.colour_bins import BINS, annealed_mean, rebalance, soft_bins

View = Float[Array, "batch height width channels"]


@dataclass(frozen=True)
@checked
class Colorization(Objective):
    """Predicts the colours of an image from its lightness (Zhang et al. 2016, section 2)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    encoder: ResNetConfig | VisionTransformerConfig
    """Network that reads the lightness, one channel."""
    decoder_width: int = 64
    """Channels of the decoder's last stage."""
    doublings: int = 1
    """How often the decoder doubles height and width of the encoder's last maps."""
    mix: float = 0.5
    """Share of the uniform distribution in the prior of colours; 1 gives all colours the same weight."""
    temperature: float = 0.38
    """Temperature of the mean that colours an image; training does not use it."""
    views: Augmentation = Augmentation(crop=None)
    """Augmentation of the images."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "decoder_width")
        check_reads_patches(self.encoder)
        if self.doublings < 0 or self.encoder.stride % 2**self.doublings:
            raise InputError(
                f"doublings={self.doublings}: the encoder has a stride of {self.encoder.stride} pixels, "
                "which must be a multiple of 2 ** doublings"
            )
        check_share(self, "mix", zero=False, one=True)
        check_above(self, 0, "temperature")

    def init(self, key: Array, spec: Any) -> Colorizer:
        """Makes encoder and decoder for images as in `spec`, with parameters drawn by `key`."""
        height, width = self._size(spec)
        if spec.channels != 3:
            raise InputError(
                f"images with {spec.channels} channels have no colours to predict; prepare them with 3 "
                "channels"
            )
        if height % self.encoder.stride or width % self.encoder.stride:
            raise InputError(
                f"views of {height}x{width} pixels do not divide by the encoder's stride of "
                f"{self.encoder.stride}; set views.size to multiples of it"
            )
        return Colorizer(
            key,
            self.encoder,
            len(BINS),
            decoder_width=self.decoder_width,
            doublings=self.doublings,
        )

    def init_state(self, model: Colorizer) -> Any:
        """Makes statistics of the batch norms of `model`, and a prior with all colours equally likely."""
        return {
            "statistics": first_statistics(model),
            "prior": jnp.full(len(BINS), 1 / len(BINS), jnp.float32),
            "counts": jnp.zeros(len(BINS)),
        }

    def follow(self, state: Any, model: Colorizer, step: Array) -> Any:
        """Sets the prior in `state` to the share of each colour so far; `model` and `step` are unused."""
        return {**state, "prior": state["counts"] / state["counts"].sum()}

    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Gives every image of the global `batch` a random key of its own, made from `key`, and a weight."""
        return draw(batch, key)

    def loss(
        self, model: Colorizer, state: Any, examples: KeyedImages, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """Computes the weighted sum of the losses of these images, and counts their colours in training.

        Args:
          model: Encoder and decoder.
          state: Statistics of batch norms, the prior of colours and their counts.
          examples: Images with keys, `[batch, height, width, 3]`.
          key: Random key of dropout; None in evaluation, where batch norms take the running statistics.

        Returns:
          The loss in nats, a scalar, and (the state, metrics by name).
        """
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
            state = update_statistics(state, {"encoder": moments})
            state = {**state, "counts": state["counts"] + counts}
        return loss, (state, mean_metrics(examples, loss=loss, accuracy=right))

    def inputs(self, pixels: View) -> Float[Array, "batch height width 1"]:
        """Returns the lightness of `pixels`, `[batch, height, width, 3]` with values from 0 to 1."""
        return lightness_of(rgb_to_lab(pixels))

    def colour(self, model: Colorizer, state: Any, pixels: View) -> View:
        """Colours images as the model predicts, from their lightness alone.

        Args:
          model: Encoder and decoder.
          state: Statistics of batch norms.
          pixels: Images with values from 0 to 1, `[batch, height, width, 3]`.

        Returns:
          Images, `[batch, height, width, 3]`.
        """
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
    """Returns the lightness of `lab`, `[batch, height, width, 3]`, scaled from -1 (black) to 1 (white)."""
    return lab[..., :1] / 50 - 1


def _means(
    ab: Float[Array, "batch height width 2"], rows: int, columns: int
) -> Float[Array, "batch rows columns 2"]:
    """Averages a and b over the pixels of each of `rows` x `columns` positions."""
    batch, height, width, _ = ab.shape
    return ab.reshape(batch, rows, height // rows, columns, width // columns, 2).mean(axis=(2, 4))
