"""Random resized crops: a box of random area and aspect, resized as Pillow and torchvision do (antialiased).

    out = rows @ image @ columns^T          for each channel

Resizing is separable and linear, so a crop is two small matrix products: the box, the filter and a flip
are in the matrices. The box is drawn as in torchvision: the first of ten that fits (Szegedy et al. 2015).
"""

import math
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.augment.random_numbers import CROP, between, select, uniform

ATTEMPTS = 10
Filter = Literal["bilinear", "bicubic"]
ChannelFirst = Float[Array, "batch channel height width"]


@dataclass(frozen=True)
class RandomResizedCrop:
    """A box of a share of the image, resized to the size of the view."""

    scale: tuple[float, float] = (0.08, 1.0)  # share of the area
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width / height
    filter: Filter = "bilinear"

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale={self.scale} must be two shares, 0 < least <= most <= 1")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio={self.ratio} must be two positive numbers, the least first")
        if self.filter not in ("bilinear", "bicubic"):
            raise ValueError(f"filter={self.filter!r} is unknown; use bilinear or bicubic")


def draw_boxes(
    keys: Array, crop: RandomResizedCrop, height: int, width: int
) -> Int[Array, "batch 4"]:
    """Top, left, height and width of a box in each image."""
    shares = uniform(keys, CROP, 2 * ATTEMPTS + 2)
    area = height * width * between(shares[:, :ATTEMPTS], *crop.scale)
    low, high = (math.log(ratio) for ratio in crop.ratio)
    aspect = jnp.exp(between(shares[:, ATTEMPTS : 2 * ATTEMPTS], low, high))
    wide, tall = jnp.round(jnp.sqrt(area * aspect)), jnp.round(jnp.sqrt(area / aspect))
    fits = (wide >= 1) & (wide <= width) & (tall >= 1) & (tall <= height)
    first = jnp.argmax(fits, axis=1)[:, None]
    # Where none fits: the largest box of an allowed aspect, in the middle.
    whole_wide = min(width, max(1, round(height * crop.ratio[1])))
    whole_tall = min(height, max(1, round(width / crop.ratio[0])))
    some = fits.any(axis=1)
    wide = jnp.where(some, select(wide, first)[:, 0], whole_wide)
    tall = jnp.where(some, select(tall, first)[:, 0], whole_tall)
    down, right = (jnp.where(some, shares[:, -i], 0.5) for i in (2, 1))
    top, left = jnp.floor(down * (height - tall + some)), jnp.floor(right * (width - wide + some))
    return jnp.stack([top, left, tall, wide], axis=1).astype(jnp.int32)


def resample(
    pixels: Float[Array, "batch height width channel"],
    boxes: Int[Array, "batch 4"],
    flipped: Bool[Array, " batch"] | None,
    height: int,
    width: int,
    filter: Filter = "bilinear",
) -> ChannelFirst:
    """The boxes of the images at another size, as planes; flipped from left to right where asked for."""
    batch, rows, columns, channels = pixels.shape
    down = resize_matrix(boxes[:, 0], boxes[:, 2], rows, height, filter)
    across = resize_matrix(boxes[:, 1], boxes[:, 3], columns, width, filter, flipped)
    # Two products without small axes: [height, rows] x [rows, columns channels], then by planes.
    high = jnp.matmul(down, pixels.reshape(batch, rows, -1), precision="high")
    planes = high.reshape(batch, height, columns, channels).transpose(0, 3, 1, 2)
    planes = planes.reshape(batch, channels * height, columns)
    out = jnp.matmul(planes, across.swapaxes(1, 2), precision="high")
    return out.reshape(batch, channels, height, width)


def resize_matrix(
    start: Int[Array, " batch"],
    size: Int[Array, " batch"],
    length: int,
    out: int,
    filter: Filter = "bilinear",
    flipped: Bool[Array, " batch"] | None = None,
) -> Float[Array, "batch out length"]:
    """Weights of an image's rows (or columns) in those of its part from `start` on, resized to `out`.

    The filter's width grows with the scale where the part shrinks; rows outside the part have no weight.
    """
    scale = size.astype(jnp.float32)[:, None, None] / out
    place = jnp.arange(out, dtype=jnp.float32)[None, :, None]
    if flipped is not None:
        place = jnp.where(flipped[:, None, None], out - 1 - place, place)
    row = jnp.arange(length)[None, None] - start[:, None, None]
    distance = jnp.abs(row + 0.5 - (place + 0.5) * scale) / jnp.maximum(scale, 1.0)
    weights = jnp.maximum(1 - distance, 0.0) if filter == "bilinear" else _cubic(distance)
    weights = jnp.where((row >= 0) & (row < size[:, None, None]), weights, 0.0)
    return weights / weights.sum(axis=2, keepdims=True)


def _cubic(t: Array, a: float = -0.5) -> Array:
    """Keys' filter (1981), as Pillow has it."""
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = (((t - 5) * t + 8) * t - 4) * a
    return jnp.where(t < 1, near, jnp.where(t < 2, far, 0.0))
