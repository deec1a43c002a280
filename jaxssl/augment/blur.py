"""Gaussian blur with a random width: separable, sums of shifted images, edges reflected as in torchvision."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.augment.crop import ChannelFirst
from jaxssl.augment.random_numbers import BLUR, between, uniform


@dataclass(frozen=True)
class GaussianBlur:
    """Blurred by a Gaussian whose standard deviation is drawn evenly."""

    probability: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)  # pixels
    size: int | None = None  # of the kernel, odd; None: a tenth of the height (Chen et al. 2020)

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability={self.probability} must lie between 0 and 1")
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"sigma={self.sigma} must be two positive numbers, the least first")
        if self.size is not None and (self.size < 3 or self.size % 2 == 0):
            raise ValueError(f"size={self.size} must be odd and at least 3")

    def radius(self, height: int, width: int) -> int:
        """Pixels on each side of the middle of the kernel."""
        radius = max(1, height // 20) if self.size is None else self.size // 2
        if radius >= min(height, width):
            raise ValueError(
                f"a kernel of {2 * radius + 1} does not fit an image of {height}x{width}; "
                f"take a size of at most {2 * min(height, width) - 1}"
            )
        return radius


def blur(images: ChannelFirst, keys: Array, config: GaussianBlur) -> ChannelFirst:
    """Images, some of them blurred."""
    shares = uniform(keys, BLUR, 2)
    radius = config.radius(*images.shape[2:])
    weights = gaussian(between(shares[:, 0], *config.sigma), radius)
    still = (jnp.arange(radius + 1) == 0)[None]
    weights = jnp.where(shares[:, 1:] < config.probability, weights, still)
    return convolve(convolve(images, weights, axis=2), weights, axis=3)


def gaussian(sigma: Float[Array, " batch"], radius: int) -> Float[Array, "batch side"]:
    """Weights at the distances 0 to radius, which with their mirror image add up to one."""
    half = jnp.exp(-0.5 * jnp.square(jnp.arange(radius + 1)[None] / sigma[:, None]))
    return half / (2 * half.sum(axis=1, keepdims=True) - half[:, :1])


def convolve(images: ChannelFirst, weights: Float[Array, "batch side"], axis: int) -> ChannelFirst:
    """sum over t of w_|t| x shifted by t, along an axis."""
    radius, length = weights.shape[1] - 1, images.shape[axis]
    sides = [(0, 0)] * images.ndim
    sides[axis] = (radius, radius)
    # The barrier keeps the mirror image from being worked out again for every shift.
    wide = jax.lax.optimization_barrier(jnp.pad(images, sides, mode="reflect"))

    def shifted(by: int) -> Array:
        return jax.lax.slice_in_dim(wide, radius + by, radius + by + length, axis=axis)

    weights = weights[:, :, None, None, None]
    total = weights[:, 0] * shifted(0)
    for by in range(1, radius + 1):
        total += weights[:, by] * (shifted(by) + shifted(-by))
    return total
