"""Colour jitter: brightness, contrast, saturation and hue, each changed at random, in random order.

    brightness   f x                           contrast     f x + (1 - f) mean(gray(x))
    saturation   f x + (1 - f) gray(x)         hue          turned by a part of the circle, in HSV

Each result is cut to 0 to 1, as in torchvision. The first three are one formula with another target, so
that any order costs the same: three of them before the hue and three behind it, some of which do nothing.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.augment.colours import gray_of, hue_chroma_value, rgb_of
from jaxssl.augment.crop import ChannelFirst
from jaxssl.augment.random_numbers import JITTER, between, select, uniform

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


@dataclass(frozen=True)
class ColorJitter:
    """Factors between 1 - s and 1 + s of a strength s; the hue by at most so much of the circle."""

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    probability: float = 0.8
    shuffled: bool = True  # else in the order of the fields

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue={self.hue} must lie between 0 and 0.5, half the circle")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability={self.probability} must lie between 0 and 1")


def jitter(images: ChannelFirst, keys: Array, config: ColorJitter) -> ChannelFirst:
    """Images with their colours changed; those with one channel in brightness and contrast alone."""
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
    images = blend_all(images, jnp.where(early, factors, 1.0), order)
    if config.hue:
        images = turn_hue(images, turn)
    return blend_all(images, jnp.where(early, 1.0, factors), order) if config.shuffled else images


def orders(
    shares: Float[Array, "batch 9"], config: ColorJitter
) -> tuple[Int[Array, "batch 3"], Int[Array, " batch"]]:
    """The order of brightness, contrast and saturation, and how many of them come before the hue."""
    if not config.shuffled:
        return jnp.tile(jnp.arange(3), (len(shares), 1)), jnp.full(len(shares), 3)
    order = jnp.argsort(shares[:, 4:8], axis=1)  # what is done first, second, third and last
    return jnp.argsort(shares[:, 4:7], axis=1), jnp.argmax(order == HUE, axis=1)


def blend_all(
    images: ChannelFirst, factors: Float[Array, "batch place"], kinds: Int[Array, "batch place"]
) -> ChannelFirst:
    """One `blend` after another.

    A loop, because a compiler may work out again whatever lies before for every use of it: of six
    blends in a row, the last would have cost as much as all of them.
    """

    def step(images: ChannelFirst, place: tuple[Array, Array]) -> tuple[ChannelFirst, None]:
        return blend(images, *place), None

    return jax.lax.scan(step, images, (factors.T, kinds.T))[0]


def blend(images: ChannelFirst, factor: Float[Array, " batch"], kind: Array) -> ChannelFirst:
    """f x + (1 - f) target, cut to 0 to 1; the target by the kind: black, the mean of gray, gray."""
    gray = to_gray(images)
    mean = gray.mean(axis=(1, 2, 3), keepdims=True)
    kind, factor = (array[:, None, None, None] for array in (kind, factor))
    target = jnp.where(kind == SATURATION, gray, jnp.where(kind == CONTRAST, mean, 0.0))
    return jnp.clip(factor * images + (1 - factor) * target, 0.0, 1.0)


def turn_hue(images: ChannelFirst, turn: Float[Array, " batch"]) -> ChannelFirst:
    """The hue turned by a part (-1/2 to 1/2) of the circle; gray and what is not turned stay exactly."""
    if images.shape[1] == 1:
        return images
    hue, chroma, value = hue_chroma_value(*(images[:, i] for i in range(3)))
    turn = turn[:, None, None]
    hue = hue + 6 * turn
    hue = jnp.where(hue < 0, hue + 6, jnp.where(hue >= 6, hue - 6, hue))
    turned = jnp.stack(rgb_of(hue, chroma, value), axis=1)
    return jnp.where(turn[:, None] == 0, images, turned)


def to_gray(images: ChannelFirst) -> Float[Array, "batch 1 height width"]:
    """Gray of red, green and blue; one channel as it is."""
    if images.shape[1] == 1:
        return images
    return gray_of(*(images[:, i : i + 1] for i in range(3)))
