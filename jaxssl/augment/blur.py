"""Gaussian blur with a random standard deviation, along one axis and then along the other.

At the edges the image is reflected, as in torchvision. A CPU adds up shifted images; elsewhere each axis is a
matrix product, since vector units are slow at shifts (a tenth of the time on a TPU).
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.augment.crop import ChannelFirst
from jaxssl.augment.random_numbers import BLUR, between, uniform


@dataclass(frozen=True)
class GaussianBlur:
    """Blurs an image with a Gaussian whose standard deviation is drawn uniformly."""

    probability: float = 0.5
    """Probability that an image is blurred."""
    sigma: tuple[float, float] = (0.1, 2.0)
    """Least and greatest standard deviation of the Gaussian, in pixels."""
    size: int | None = None
    """Width of the kernel in pixels, odd. None takes a tenth of the image's height (Chen et al. 2020)."""

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability={self.probability} must be between 0 and 1")
        if len(self.sigma) != 2 or not 0 < self.sigma[0] <= self.sigma[1] < math.inf:
            raise ValueError(f"sigma={self.sigma} must be two positive numbers, the smaller first")
        if self.size is not None and (self.size < 3 or self.size % 2 == 0):
            raise ValueError(f"size={self.size} must be odd and at least 3")

    def radius(self, height: int, width: int) -> int:
        """Returns the number of pixels of the kernel on each side of its middle.

        Args:
          height: Height of the images, in pixels.
          width: Width of the images, in pixels.

        Returns:
          The radius, at least 1.

        Raises:
          ValueError: The kernel does not fit into the image.
        """
        radius = max(1, height // 20) if self.size is None else self.size // 2
        if radius >= min(height, width):
            raise ValueError(
                f"size={2 * radius + 1} does not fit an image of {height}x{width}; "
                f"take a size of at most {2 * min(height, width) - 1}"
            )
        return radius


def blur(images: ChannelFirst, keys: Array, config: GaussianBlur) -> ChannelFirst:
    """Blurs a random part of the images.

    Args:
      images: Images, `[batch, channel, height, width]`.
      keys: Random keys, `[batch]`.
      config: Probability, standard deviation and size of the kernel.

    Returns:
      Images of the same shape.
    """
    shares = uniform(keys, BLUR, 2)
    radius = config.radius(*images.shape[2:])
    weights = gaussian(between(shares[:, 0], *config.sigma), radius)
    still = (jnp.arange(radius + 1) == 0)[None]
    weights = jnp.where(shares[:, 1:] < config.probability, weights, still)
    return convolve(convolve(images, weights, axis=2), weights, axis=3)


def gaussian(sigma: Float[Array, " batch"], radius: int) -> Float[Array, "batch side"]:
    """Computes one half of a normalised Gaussian kernel: its weights at the distances 0 to `radius`.

    Args:
      sigma: Standard deviation for each image, `[batch]`, in pixels.
      radius: Greatest distance, in pixels.

    Returns:
      Weights, `[batch, radius + 1]`; with the mirrored other half they add up to one.
    """
    half = jnp.exp(-0.5 * jnp.square(jnp.arange(radius + 1)[None] / sigma[:, None]))
    return half / (2 * half.sum(axis=1, keepdims=True) - half[:, :1])


def convolve(images: ChannelFirst, weights: Float[Array, "batch side"], axis: int) -> ChannelFirst:
    """Convolves images with a symmetric kernel along one axis: sum over d of w_|d| x shifted by d.

    Args:
      images: Images, `[batch, channel, height, width]`.
      weights: Weights of the kernel at the distances 0, 1, …, `[batch, radius + 1]`.
      axis: Axis of the images: 2 for height, 3 for width.

    Returns:
      Images of the same shape.
    """
    return jax.lax.platform_dependent(
        images, weights, cpu=partial(sum_shifted, axis=axis), default=partial(multiply, axis=axis)
    )


def multiply(images: ChannelFirst, weights: Float[Array, "batch side"], axis: int) -> ChannelFirst:
    """Convolves `images`, `[batch, channel, height, width]`, along `axis` by a matrix for each of them.

    The `weights`, `[batch, radius + 1]`, are those of `convolve`.
    """
    matrices = blur_matrix(weights, images.shape[axis])
    product = "bkr,bcrw->bckw" if axis == 2 else "bkr,bchr->bchk"
    return jnp.einsum(product, matrices, images, precision="high")


def blur_matrix(
    weights: Float[Array, "batch side"], length: int
) -> Float[Array, "batch length length"]:
    """Makes the matrices that convolve an axis with a symmetric kernel, the edges reflected.

    Args:
      weights: Weights of the kernel at the distances 0, 1, …, `[batch, radius + 1]`.
      length: Length of the axis, above the radius.

    Returns:
      Entry (k, r) is the weight of row r of the image in row k of the result, `[batch, length, length]`.
    """
    # Row r is seen at r and, mirrored at both ends, at -r and 2 (length - 1) - r.
    to, row = jnp.arange(length)[None, :, None], jnp.arange(length)[None, None]
    end = length - 1
    seen = ((row, True), (-row, row > 0), (2 * end - row, row < end))
    by = jnp.arange(weights.shape[1])[:, None, None]
    counts = sum((shown & (jnp.abs(place - to) == by)).astype(jnp.float32) for place, shown in seen)
    return jnp.einsum("bd,dkr->bkr", weights, counts, precision="highest")


def sum_shifted(
    images: ChannelFirst, weights: Float[Array, "batch side"], axis: int
) -> ChannelFirst:
    """Convolves `images`, `[batch, channel, height, width]`, along `axis` as a sum of shifted images.

    The `weights`, `[batch, radius + 1]`, are those of `convolve`.
    """
    radius, length = weights.shape[1] - 1, images.shape[axis]
    sides = [(0, 0)] * images.ndim
    sides[axis] = (radius, radius)
    # The barrier keeps the compiler from computing the reflection again for every shift.
    wide = jax.lax.optimization_barrier(jnp.pad(images, sides, mode="reflect"))

    def shifted(by: int) -> Array:
        return jax.lax.slice_in_dim(wide, radius + by, radius + by + length, axis=axis)

    weights = weights[:, :, None, None, None]
    total = weights[:, 0] * shifted(0)
    for by in range(1, radius + 1):
        total += weights[:, by] * (shifted(by) + shifted(-by))
    return total
