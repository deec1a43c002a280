"""Colour jitter: brightness, contrast, saturation and hue, each changed at random, in random order.

    brightness   f x                           contrast     f x + (1 - f) mean(gray(x))
    saturation   f x + (1 - f) gray(x)         hue          rotated on the colour circle, in HSV

Each result is clipped to 0 to 1, as in torchvision. The first three are one formula with different
targets, so every order has the same program: three blends before the hue and three after it, of
which those that are not due have the factor 1.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.augment.colours import gray_of, hue_chroma_value, rgb_of
from jaxssl.augment.crop import ChannelFirst
from jaxssl.augment.random_numbers import JITTER, between, select, uniform

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)

Plane = Float[Array, "batch height width"]
Planes = tuple[Plane, ...]  # the channels of images, each for itself


@dataclass(frozen=True)
class ColorJitter:
    """Changes brightness, contrast, saturation and hue of an image at random, in random order.

    A strength s of one of the first three draws a factor uniformly between max(0, 1 - s) and 1 + s.
    """

    brightness: float = 0.4
    """Strength of the change of brightness; 0 leaves it as it is."""
    contrast: float = 0.4
    """Strength of the change of contrast; 0 leaves it as it is."""
    saturation: float = 0.4
    """Strength of the change of saturation; 0 leaves it as it is."""
    hue: float = 0.1
    """Greatest rotation of the hue in both directions, as a share of the colour circle, 0 to 0.5."""
    probability: float = 0.8
    """Probability that an image is changed at all."""
    shuffled: bool = True
    """Whether the order is drawn for every image. If not, it is brightness, contrast, saturation, hue."""

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative or infinite")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue={self.hue} must be between 0 and 0.5, half the colour circle")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability={self.probability} must be between 0 and 1")


def jitter(images: ChannelFirst, keys: Array, config: ColorJitter) -> ChannelFirst:
    """Changes the colours of images at random.

    Images with one channel are changed in brightness and contrast alone.

    Args:
      images: Images from 0 to 1, `[batch, channel, height, width]`.
      keys: Random keys, `[batch]`.
      config: Strengths of the changes.

    Returns:
      Images of the same shape, from 0 to 1.
    """
    shares = uniform(keys, JITTER, 9)
    strengths = (config.brightness, config.contrast, config.saturation)
    changed = shares[:, 8] < config.probability
    factors = jnp.stack(
        [between(shares[:, i], max(0.0, 1 - s), 1 + s) for i, s in enumerate(strengths)], axis=1
    )
    factors = jnp.where(changed[:, None], factors, 1.0)
    turn = jnp.where(changed, between(shares[:, 3], -config.hue, config.hue), 0.0)
    order, before = orders(shares, config)
    factors = select(factors, order)
    early = jnp.arange(3)[None] < before[:, None]
    planes = blend_all(planes_of(images), jnp.where(early, factors, 1.0), order)
    if config.hue:
        planes = turn_hue(planes, turn)
    if config.shuffled:
        planes = blend_all(planes, jnp.where(early, 1.0, factors), order)
    return jnp.stack(planes, axis=1)


def orders(
    shares: Float[Array, "batch 9"], config: ColorJitter
) -> tuple[Int[Array, "batch 3"], Int[Array, " batch"]]:
    """Draws the order of the four changes for every image.

    Args:
      shares: Random numbers from 0 to 1, `[batch, 9]`, of which numbers 4 to 7 are sorted.
      config: Whether the order is random.

    Returns:
      The order of brightness, contrast and saturation (0, 1, 2), `[batch, 3]`, and how many of them
      come before the hue, `[batch]`.
    """
    if not config.shuffled:
        return jnp.tile(jnp.arange(3), (len(shares), 1)), jnp.full(len(shares), 3)
    order = jnp.argsort(
        shares[:, 4:8], axis=1
    )  # the changes that come first, second, third and last
    return jnp.argsort(shares[:, 4:7], axis=1), jnp.argmax(order == HUE, axis=1)


def blend_all(
    planes: Planes, factors: Float[Array, "batch blends"], kinds: Int[Array, "batch blends"]
) -> Planes:
    """Applies several `blend`s one after another.

    It is a loop, because a compiler that fuses six blends in a row may compute the earlier ones
    again for each use, so that the last one costs as much as all of them. The mean of the gray image
    is handed on from blend to blend, so that each is one pass over the images; a CPU takes it in a
    pass of its own, which it computes faster than sums within a blend.

    Args:
      planes: Channels of images, `[batch, height, width]` each.
      factors: Factor of every blend, `[batch, blends]`; 1 changes nothing.
      kinds: Kind of every blend (BRIGHTNESS, CONTRAST or SATURATION), int `[batch, blends]`.

    Returns:
      Channels of the same shape, from 0 to 1.
    """

    each = (factors.T, kinds.T)

    def on_cpu(planes: Planes) -> Planes:
        def step(planes: Planes, one: tuple[Array, Array]) -> tuple[Planes, None]:
            return blend(planes, gray_mean(planes), *one), None

        return jax.lax.scan(step, planes, each)[0]

    def elsewhere(planes: Planes) -> Planes:
        def step(carry: tuple[Planes, Array], one: tuple[Array, Array]) -> tuple[Any, None]:
            blended = blend(*carry, *one)
            return (blended, gray_mean(blended)), None

        return jax.lax.scan(step, (planes, gray_mean(planes)), each)[0][0]

    return jax.lax.platform_dependent(planes, cpu=on_cpu, default=elsewhere)


def blend(
    planes: Planes,
    mean: Float[Array, "batch 1 1"],
    factor: Float[Array, " batch"],
    kind: Int[Array, " batch"],
) -> Planes:
    """Blends images with a target: factor * images + (1 - factor) * target, clipped to 0 to 1.

    The target is black for BRIGHTNESS, the mean of the gray image for CONTRAST, and the gray image
    for SATURATION.

    Args:
      planes: Channels of images from 0 to 1, `[batch, height, width]` each.
      mean: Mean of each gray image, `[batch, 1, 1]`.
      factor: Factor for each image, `[batch]`.
      kind: Kind of the change for each image, int `[batch]`.

    Returns:
      Channels of the same shape, from 0 to 1.
    """
    kind, factor = kind[:, None, None], factor[:, None, None]
    target = jnp.where(kind == SATURATION, gray(planes), jnp.where(kind == CONTRAST, mean, 0.0))
    return tuple(jnp.clip(factor * plane + (1 - factor) * target, 0.0, 1.0) for plane in planes)


def turn_hue(planes: Planes, turn: Float[Array, " batch"]) -> Planes:
    """Rotates the hue of images; gray pixels and images that are not rotated stay exactly as they are.

    Args:
      planes: Channels of images from 0 to 1, `[batch, height, width]` each. A single one is returned
        unchanged.
      turn: Rotation for each image, as a share of the colour circle from -1/2 to 1/2, `[batch]`.

    Returns:
      Channels of the same shape.
    """
    if len(planes) == 1:
        return planes
    hue, chroma, value = hue_chroma_value(*planes)
    turn = turn[:, None, None]
    hue = hue + 6 * turn
    hue = jnp.where(hue < 0, hue + 6, jnp.where(hue >= 6, hue - 6, hue))
    turned = rgb_of(hue, chroma, value)
    return tuple(jnp.where(turn == 0, *both) for both in zip(planes, turned, strict=True))


def planes_of(images: ChannelFirst) -> Planes:
    """Returns the channels of `images`, `[batch, channel, height, width]`, as arrays of their own."""
    return tuple(images[:, channel] for channel in range(images.shape[1]))


def gray(planes: Planes) -> Plane:
    """Returns the luma of `planes`, channels `[batch, height, width]`; a single channel is its own."""
    return planes[0] if len(planes) == 1 else gray_of(*planes)


def gray_mean(planes: Planes) -> Float[Array, "batch 1 1"]:
    """Returns the mean luma, `[batch, 1, 1]`, of `planes`, channels `[batch, height, width]`."""
    return gray(planes).mean(axis=(1, 2), keepdims=True)


def to_gray(images: ChannelFirst) -> Float[Array, "batch 1 height width"]:
    """Returns the luma of `images`, `[batch, channel, height, width]`, as one channel."""
    if images.shape[1] == 1:
        return images
    return gray_of(*(images[:, i : i + 1] for i in range(3)))
