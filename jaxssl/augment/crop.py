"""Random resized crops: a box of random area and aspect ratio, resized with an antialiasing filter.

    out = rows @ image @ columns^T          for each channel

Resizing is separable and linear, so a crop is two small matrix products, `rows`
`[height, rows of the image]` and `columns` `[width, columns of the image]`. Box, filter and a flip
are all in the matrices. The filter is that of Pillow and torchvision. The box is drawn as in
torchvision: the first of ten candidates that fits into the image.

Szegedy et al. 2015, "Going deeper with convolutions", section 6.
"""

import math
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.augment.random_numbers import CROP, between, select, uniform

ATTEMPTS = 10  # candidates of a box
Filter = Literal["bilinear", "bicubic"]
ChannelFirst = Float[Array, "batch channel height width"]


@dataclass(frozen=True)
class RandomResizedCrop:
    """Crops a box of random area and aspect ratio, and resizes it to the size of the view."""

    scale: tuple[float, float] = (0.08, 1.0)
    """Least and greatest area of the box, as a share of the image, 0 to 1."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Least and greatest aspect ratio of the box, width / height; drawn uniformly on a logarithmic scale."""
    filter: Filter = "bilinear"
    """Filter of the resizing: "bilinear" or "bicubic", both widened where the box shrinks (antialiasing)."""

    def __post_init__(self) -> None:
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(
                f"scale={self.scale} must be two shares of the area, 0 < least <= greatest <= 1"
            )
        if len(self.ratio) != 2 or not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise ValueError(f"ratio={self.ratio} must be two positive numbers, the smaller first")
        if self.filter not in ("bilinear", "bicubic"):
            raise ValueError(f"filter={self.filter!r} is unknown; use bilinear or bicubic")


def draw_boxes(
    keys: Array, crop: RandomResizedCrop, height: int, width: int
) -> Int[Array, "batch 4"]:
    """Draws a box in each image, as torchvision's RandomResizedCrop does.

    If none of ten candidates fits, the box is the largest one of an allowed aspect ratio, in the
    middle.

    Args:
      keys: Random keys, `[batch]`.
      crop: Range of areas and aspect ratios.
      height: Height of the images, in pixels.
      width: Width of the images, in pixels.

    Returns:
      Top, left, height and width of each box, int32 `[batch, 4]`, in pixels.
    """
    shares = uniform(keys, CROP, 2 * ATTEMPTS + 2)
    area = height * width * between(shares[:, :ATTEMPTS], *crop.scale)
    low, high = (math.log(ratio) for ratio in crop.ratio)
    aspect = jnp.exp(between(shares[:, ATTEMPTS : 2 * ATTEMPTS], low, high))
    wide, tall = jnp.round(jnp.sqrt(area * aspect)), jnp.round(jnp.sqrt(area / aspect))
    fits = (wide >= 1) & (wide <= width) & (tall >= 1) & (tall <= height)
    first = jnp.argmax(fits, axis=1)[:, None]
    # Where none fits: the largest box of an allowed aspect ratio, in the middle.
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
    """Crops the images to boxes and resizes these to `height` x `width`, mirrored where asked for.

    Args:
      pixels: Images, float `[batch, rows, columns, channel]`.
      boxes: Top, left, height and width of a box in each image, int `[batch, 4]`.
      flipped: Which images are mirrored from left to right, bool `[batch]`. `None` mirrors none.
      height: Height of the result, in pixels.
      width: Width of the result, in pixels.
      filter: "bilinear" or "bicubic".

    Returns:
      Images, float32 `[batch, channel, height, width]`.
    """
    batch, rows, columns, channels = pixels.shape
    down = resize_matrix(boxes[:, 0], boxes[:, 2], rows, height, filter)
    across = resize_matrix(boxes[:, 1], boxes[:, 3], columns, width, filter, flipped)
    # Two products without small axes: [height, rows] x [rows, columns channels], then
    # [channels height, columns] x [columns, width].
    high = jnp.matmul(down, pixels.reshape(batch, rows, -1), precision="high")
    channel_first = high.reshape(batch, height, columns, channels).transpose(0, 3, 1, 2)
    flat = channel_first.reshape(batch, channels * height, columns)
    out = jnp.matmul(flat, across.swapaxes(1, 2), precision="high")
    return out.reshape(batch, channels, height, width)


def resize_matrix(
    start: Int[Array, " batch"],
    size: Int[Array, " batch"],
    length: int,
    out: int,
    filter: Filter = "bilinear",
    flipped: Bool[Array, " batch"] | None = None,
) -> Float[Array, "batch out length"]:
    """Makes the matrices that resize a part of an axis of the images, with an antialiasing filter.

    Entry (k, r) is the weight of row r of the image in row k of the result. Where the part shrinks,
    the filter is widened by the same factor. Rows outside the part have weight 0.

    Args:
      start: First row of the part, int `[batch]`.
      size: Number of rows of the part, int `[batch]`.
      length: Number of rows of the image.
      out: Number of rows of the result.
      filter: "bilinear" or "bicubic".
      flipped: For which images the order of the rows of the result is reversed, bool `[batch]`, or
        `None`.

    Returns:
      Matrices whose rows add up to one, float32 `[batch, out, length]`.
    """
    scale = size.astype(jnp.float32)[:, None, None] / out
    position = jnp.arange(out, dtype=jnp.float32)[None, :, None]
    if flipped is not None:
        position = jnp.where(flipped[:, None, None], out - 1 - position, position)
    row = jnp.arange(length)[None, None] - start[:, None, None]
    distance = jnp.abs(row + 0.5 - (position + 0.5) * scale) / jnp.maximum(scale, 1.0)
    weights = jnp.maximum(1 - distance, 0.0) if filter == "bilinear" else _cubic(distance)
    weights = jnp.where((row >= 0) & (row < size[:, None, None]), weights, 0.0)
    return weights / weights.sum(axis=2, keepdims=True)


def _cubic(t: Array, a: float = -0.5) -> Array:
    """Keys' cubic convolution filter (1981) with a = -0.5, as in Pillow."""
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = (((t - 5) * t + 8) * t - 4) * a
    return jnp.where(t < 1, near, jnp.where(t < 2, far, 0.0))
