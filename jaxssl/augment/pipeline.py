"""Augmentation of images: random views, made on the device inside the jitted step.

    batch, height, width, channel     uint8 images as they were read; views are float32 from 0 to 1
    ChannelFirst                      within a view: [batch, channel, height, width]

A view is a pure function of (images, keys), with one key for each image. The transformations come
in the order of SimCLR and BYOL, cutout last. Since keys have a leading batch axis, uint8 images and
keys can be split into microbatches, and each microbatch makes its own views: they are the same as
those of the whole batch.

Chen et al. 2020, "A simple framework for contrastive learning of visual representations",
appendix A; Grill et al. 2020, "Bootstrap your own latent", appendix B; DeVries & Taylor 2017
(cutout).
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

from jaxssl.augment.blur import GaussianBlur, blur
from jaxssl.augment.crop import ChannelFirst, RandomResizedCrop, draw_boxes, resample
from jaxssl.augment.jitter import ColorJitter, jitter, to_gray
from jaxssl.augment.random_numbers import CUTOUT, FLIP, GRAYSCALE, SOLARIZE, fold, uniform

Pixels = UInt8[Array, "batch height width channel"]
View = Float[Array, "batch height width channel"]


LARGEST = 8_192  # pixels of a side of a view


@dataclass(frozen=True)
class Cutout:
    """Fills a square of the image with one value; its middle is anywhere, and the edges of the image clip it.

    DeVries & Taylor 2017, "Improved regularization of convolutional neural networks with cutout".
    """

    size: int = 8
    """Side of the square, in pixels."""
    probability: float = 1.0
    """Probability that an image has a square."""
    fill: float = 0.5
    """Value of the filled pixels, in all channels, from 0 to 1."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size={self.size} must be at least 1")
        for name in ("probability", "fill"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must be between 0 and 1")


@dataclass(frozen=True)
class Augmentation:
    """A random view of each image: a function of (pixels, keys), whose fields are the transformations.

    Transformations that are None or have the probability 0 are left out.

    >>> import jax, jax.numpy as jnp
    >>> pixels = jnp.zeros((4, 32, 32, 3), jnp.uint8)
    >>> views = Augmentation(size=(24, 24), jitter=ColorJitter(), grayscale=0.2)
    >>> views(pixels, jax.random.split(jax.random.key(0), 4)).shape
    (4, 24, 24, 3)
    """

    size: tuple[int, int] | None = None
    """Height and width of a view, in pixels. None keeps the size of the images."""
    crop: RandomResizedCrop | None = RandomResizedCrop()
    """Random resized crop. None takes the whole image."""
    flip: float = 0.5
    """Probability that an image is mirrored from left to right."""
    jitter: ColorJitter | None = None
    """Random change of the colours. None leaves them as they are."""
    grayscale: float = 0.0
    """Probability that an image is made gray."""
    blur: GaussianBlur | None = None
    """Random Gaussian blur. None leaves it out."""
    solarize: float = 0.0
    """Probability that an image is solarized: values of at least `threshold` are inverted."""
    threshold: float = 0.5
    """Value from 0 to 1 from which solarizing inverts."""
    cutout: Cutout | None = None
    """Square that is filled with one value. None leaves it out."""
    mean: tuple[float, ...] = ()
    """Mean of every channel, subtracted at the end. An empty tuple subtracts none."""
    std: tuple[float, ...] = ()
    """Standard deviation of every channel, by which the result is divided. As many numbers as `mean`."""

    def __post_init__(self) -> None:
        for name in ("flip", "grayscale", "solarize", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must be between 0 and 1")
        if self.size is not None and not _is_size(self.size):
            raise ValueError(
                f"size={self.size} must be at least 1 x 1 and at most {LARGEST} x {LARGEST} pixels"
            )
        finite = all(math.isfinite(number) for number in (*self.mean, *self.std))
        if len(self.mean) != len(self.std) or not finite or not all(std > 0 for std in self.std):
            raise ValueError(
                f"mean={self.mean} and std={self.std} must both have one number for every "
                "channel, and no std may be 0 or less"
            )

    def __call__(self, pixels: Pixels, keys: Key[Array, " batch"]) -> View:
        """Makes a view of each image.

        Args:
          pixels: Images, uint8 `[batch, height, width, channel]`.
          keys: Random keys, `[batch]`.

        Returns:
          Views, float32 `[batch, *size, channel]`: from 0 to 1, before `mean` and `std` are
          applied.

        Raises:
          ValueError: The images are not uint8, or have another number of channels than `mean`.
        """
        if pixels.dtype != jnp.uint8 or pixels.ndim != 4:
            raise ValueError(
                f"images are {pixels.dtype} {list(pixels.shape)}; they must be uint8 from 0 to 255, "
                "[batch, height, width, channel]"
            )
        self.check_channels(pixels.shape[3])
        images = self._cropped(pixels, keys)
        if self.jitter is not None:
            images = jitter(images, keys, self.jitter)
        if self.grayscale and images.shape[1] == 3:
            images = jnp.where(happens(keys, GRAYSCALE, self.grayscale), to_gray(images), images)
        if self.blur is not None:
            images = blur(images, keys, self.blur)
        if self.solarize:
            inverted = jnp.where(images >= self.threshold, 1 - images, images)
            images = jnp.where(happens(keys, SOLARIZE, self.solarize), inverted, images)
        if self.cutout is not None:
            images = cut_out(images, keys, self.cutout)
        if self.mean:
            mean, std = (
                jnp.asarray(v, jnp.float32)[None, :, None, None] for v in (self.mean, self.std)
            )
            images = (images - mean) / std
        return images.transpose(0, 2, 3, 1)

    def check_channels(self, channels: int) -> None:
        """Raises ValueError if `mean` is not for images of this number of `channels`."""
        if len(self.mean) not in (0, 1, channels):
            raise ValueError(
                f"the images have {channels} channel{'s' if channels > 1 else ''}, but mean={self.mean} "
                f"and std={self.std} are for {len(self.mean)}; prepare the images with "
                f"channels={len(self.mean)}, or set mean and std to one number"
            )

    def _cropped(self, pixels: Pixels, keys: Key[Array, " batch"]) -> ChannelFirst:
        """Crops, mirrors and resizes in one step; images from 0 to 1, `[batch, channel, height, width]`."""
        batch, rows, columns, _ = pixels.shape
        height, width = self.size or (rows, columns)
        flipped = happens(keys, FLIP, self.flip)[:, 0, 0, 0] if self.flip else None
        images = pixels.astype(jnp.float32) / 255
        if self.crop is None and (height, width) == (rows, columns):
            cropped = images.transpose(0, 3, 1, 2)
            if flipped is not None:
                cropped = jnp.where(flipped[:, None, None, None], cropped[..., ::-1], cropped)
            return cropped
        if self.crop is None:
            boxes = jnp.broadcast_to(jnp.array([0, 0, rows, columns]), (batch, 4))
            return resample(images, boxes, flipped, height, width)
        boxes = draw_boxes(keys, self.crop, rows, columns)
        cropped = resample(images, boxes, flipped, height, width, self.crop.filter)
        return jnp.clip(cropped, 0.0, 1.0) if self.crop.filter == "bicubic" else cropped


def _is_size(size: tuple[int, int]) -> bool:
    return len(size) == 2 and all(isinstance(n, int) and 1 <= n <= LARGEST for n in size)


def happens(keys: Key[Array, " batch"], transform: int, probability: float) -> Array:
    """Draws for every image whether a transformation is applied.

    Args:
      keys: Random keys, `[batch]`.
      transform: Number of the transformation, which is folded into the keys.
      probability: Probability that it is applied.

    Returns:
      Mask, bool `[batch, 1, 1, 1]`.
    """
    return uniform(keys, transform, 1)[:, :, None, None] < probability


def cut_out(images: ChannelFirst, keys: Key[Array, " batch"], config: Cutout) -> ChannelFirst:
    """Fills a random square of each image, or of some of them, with one value.

    Args:
      images: Images, `[batch, channel, height, width]`.
      keys: Random keys, `[batch]`.
      config: Size, probability and value.

    Returns:
      Images of the same shape.
    """
    shares = uniform(keys, CUTOUT, 3)

    def inside(share: Array, length: int) -> Array:
        """Which rows (or columns) are in the square, bool `[batch, length]`."""
        first = jnp.floor(share * length)[:, None] - config.size // 2
        position = jnp.arange(length)[None]
        return (position >= first) & (position < first + config.size)

    down, across = (inside(shares[:, i], images.shape[2 + i]) for i in range(2))
    square = down[:, None, :, None] & across[:, None, None, :]
    done = shares[:, 2] < config.probability
    return jnp.where(square & done[:, None, None, None], config.fill, images)


def many_views(
    pixels: Pixels, keys: Key[Array, " batch"], views: Augmentation, count: int, first: int = 0
) -> Float[Array, "batch count height width channel"]:
    """Makes several views of each image, those with the numbers `first` to `first + count - 1`.

    Args:
      pixels: Images, uint8 `[batch, height, width, channel]`.
      keys: Random keys, `[batch]`. View number k is made from `fold(keys, k)`.
      views: How a view is made.
      count: Number of views.
      first: Number of the first view.

    Returns:
      Views, float32 `[batch, count, height, width, channel]`.
    """
    made = jax.lax.map(lambda number: views(pixels, fold(keys, number)), first + jnp.arange(count))
    return jnp.moveaxis(made, 0, 1)


@dataclass(frozen=True)
class MultiCrop:
    """Makes a few large views of each image and several small ones, which cost little.

    Caron et al. 2020, "Unsupervised learning of visual features by contrasting cluster
    assignments", section 3.3.
    """

    large: Augmentation | tuple[Augmentation, Augmentation] = Augmentation(
        crop=RandomResizedCrop(scale=(0.4, 1.0))
    )
    """How a large view is made, or how the first and the second are (the third as the first, and so on)."""
    small: Augmentation = Augmentation(size=(96, 96), crop=RandomResizedCrop(scale=(0.05, 0.4)))
    """How a small view is made."""
    large_count: int = 2
    """Number of large views, at least 1."""
    small_count: int = 6
    """Number of small views; 0 makes none."""

    def __post_init__(self) -> None:
        if self.large_count < 1 or self.small_count < 0:
            raise ValueError(
                f"large_count={self.large_count} must be at least 1, and "
                f"small_count={self.small_count} at least 0"
            )
        if isinstance(self.large, tuple) and self.large[0].size != self.large[1].size:
            raise ValueError(
                f"large: sizes {self.large[0].size} and {self.large[1].size} do not fit; set one size for "
                "both"
            )

    @property
    def large_kinds(self) -> tuple[Augmentation, ...]:
        """The augmentations of large views, one or two."""
        return self.large if isinstance(self.large, tuple) else (self.large,)

    def __call__(self, pixels: Pixels, keys: Key[Array, " batch"]) -> tuple[Array, Array]:
        """Makes the views of each image.

        Args:
          pixels: Images, uint8 `[batch, height, width, channel]`.
          keys: Random keys, `[batch]`.

        Returns:
          Large views, float32 `[batch, large_count, ...]`, and small views, float32
          `[batch, small_count, ...]`.
        """
        if isinstance(self.large, tuple):
            made = [
                self.large[number % 2](pixels, fold(keys, number))
                for number in range(self.large_count)
            ]
            large = jnp.stack(made, axis=1)
        else:
            large = many_views(pixels, keys, self.large, self.large_count)
        return large, many_views(pixels, keys, self.small, self.small_count, self.large_count)
