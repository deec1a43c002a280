"""Views of images, made on the device inside the step, by pure functions of (images, keys).

    keys  = example_keys(key, batch)                 # one an image, by its number in the global batch
    views = Augmentation(flip=0.5, jitter=ColorJitter(), grayscale=0.2, blur=GaussianBlur())
    first, second = views(pixels, fold(keys, 0)), views(pixels, fold(keys, 1))

    batch, height, width, channel     uint8 images as they were read; views are float32 from 0 to 1
    planes                            within a view: [batch, channel, height, width]

The transforms come in the order of SimCLR and BYOL (Chen et al. 2020, appendix A; Grill et al. 2020,
appendix B), cutout last (DeVries & Taylor 2017). Keys have a leading batch axis, so `corrupt` may hand
uint8 images and keys on, and a microbatch makes its own views: they are the same.
"""

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


@dataclass(frozen=True)
class Cutout:
    """A square with its middle anywhere in the image, cut off at the edges, of one value."""

    size: int = 8  # pixels
    probability: float = 1.0
    fill: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size={self.size} must be at least 1")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability={self.probability} must lie between 0 and 1")


@dataclass(frozen=True)
class Augmentation:
    """How a view is made. What is None, or has probability 0, is left out."""

    size: tuple[int, int] | None = None  # height and width of a view; those of the images if None
    crop: RandomResizedCrop | None = RandomResizedCrop()
    flip: float = 0.5  # probability, from left to right
    jitter: ColorJitter | None = None
    grayscale: float = 0.0  # probability
    blur: GaussianBlur | None = None
    solarize: float = 0.0  # probability: what is at least the threshold is inverted
    threshold: float = 0.5
    cutout: Cutout | None = None
    mean: tuple[float, ...] = ()  # of the channels, taken off at the end; none if empty
    std: tuple[float, ...] = ()  # of the channels, divided by

    def __post_init__(self) -> None:
        for name in ("flip", "grayscale", "solarize"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must lie between 0 and 1")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size={self.size} must be at least 1 x 1")
        if len(self.mean) != len(self.std) or 0 in self.std:
            raise ValueError(
                f"mean={self.mean} and std={self.std} must have a number each for every "
                "channel, and no std may be 0"
            )

    def __call__(self, pixels: Pixels, keys: Key[Array, " batch"]) -> View:
        """A view of each image, float32 [batch, *size, channel]: from 0 to 1 before `mean` is taken off."""
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

    def _cropped(self, pixels: Pixels, keys: Key[Array, " batch"]) -> ChannelFirst:
        """Crop, flip and resizing in one, as planes from 0 to 1."""
        batch, rows, columns, _ = pixels.shape
        height, width = self.size or (rows, columns)
        flipped = happens(keys, FLIP, self.flip)[:, 0, 0, 0] if self.flip else None
        images = pixels.astype(jnp.float32) / 255
        if self.crop is None and (height, width) == (rows, columns):
            planes = images.transpose(0, 3, 1, 2)
            if flipped is not None:
                planes = jnp.where(flipped[:, None, None, None], planes[..., ::-1], planes)
            return planes
        if self.crop is None:
            boxes = jnp.broadcast_to(jnp.array([0, 0, rows, columns]), (batch, 4))
            return resample(images, boxes, flipped, height, width)
        boxes = draw_boxes(keys, self.crop, rows, columns)
        planes = resample(images, boxes, flipped, height, width, self.crop.filter)
        return jnp.clip(planes, 0.0, 1.0) if self.crop.filter == "bicubic" else planes


def happens(keys: Key[Array, " batch"], transform: int, probability: float) -> Array:
    """Whether a transform is done, bool [batch, 1, 1, 1]."""
    return uniform(keys, transform, 1)[:, :, None, None] < probability


def cut_out(images: ChannelFirst, keys: Key[Array, " batch"], config: Cutout) -> ChannelFirst:
    """A square of each image, or of some, filled with one value."""
    shares = uniform(keys, CUTOUT, 3)

    def inside(share: Array, length: int) -> Array:
        first = jnp.floor(share * length)[:, None] - config.size // 2
        place = jnp.arange(length)[None]
        return (place >= first) & (place < first + config.size)

    down, across = (inside(shares[:, i], images.shape[2 + i]) for i in range(2))
    square = down[:, None, :, None] & across[:, None, None, :]
    done = shares[:, 2] < config.probability
    return jnp.where(square & done[:, None, None, None], config.fill, images)


def many_views(
    pixels: Pixels, keys: Key[Array, " batch"], views: Augmentation, count: int, first: int = 0
) -> Float[Array, "batch count height width channel"]:
    """Views number `first` to `first + count` of each image, each from keys of its own."""
    made = jax.lax.map(lambda number: views(pixels, fold(keys, number)), first + jnp.arange(count))
    return jnp.moveaxis(made, 0, 1)


@dataclass(frozen=True)
class MultiCrop:
    """Large crops, and small ones that cost little (Caron et al. 2020, section 3.3)."""

    large: Augmentation = Augmentation(crop=RandomResizedCrop(scale=(0.4, 1.0)))
    small: Augmentation = Augmentation(size=(96, 96), crop=RandomResizedCrop(scale=(0.05, 0.4)))
    large_count: int = 2
    small_count: int = 6

    def __post_init__(self) -> None:
        if self.large_count < 1 or self.small_count < 0:
            raise ValueError(
                f"{self.large_count} large and {self.small_count} small crops: take at least 1 and 0"
            )

    def __call__(self, pixels: Pixels, keys: Key[Array, " batch"]) -> tuple[Array, Array]:
        """float32 [batch, large_count, …] and [batch, small_count, …]."""
        large = many_views(pixels, keys, self.large, self.large_count)
        return large, many_views(pixels, keys, self.small, self.small_count, self.large_count)
