"""Colour spaces, over arrays whose last axis is red, green and blue from 0 to 1 (sRGB).

    gray   0.2989 red + 0.587 green + 0.114 blue (ITU-R 601)
    HSV    hue, saturation and value, each from 0 to 1
    Lab    CIE 1976 L* (0 to 100), a*, b*; white is D65 as seen by the 2 degree observer

Lab is scikit-image's, which agrees to 1e-4. Everything is elementwise and has finite gradients.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

GRAY = (0.2989, 0.587, 0.114)
WHITE = np.array([0.95047, 1.0, 1.08883])  # D65 in XYZ
XYZ = np.array(  # linear red, green and blue -> XYZ
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
DARK = 0.008856  # below it the cube root is replaced by a line
Colours = Float[Array, "*shape 3"]


def rgb_to_gray(rgb: Colours) -> Float[Array, "*shape 1"]:
    """The luma, as one channel."""
    return gray_of(*jnp.split(rgb, 3, axis=-1))


def gray_of(red: Array, green: Array, blue: Array) -> Array:
    """The luma of three planes."""
    return GRAY[0] * red + GRAY[1] * green + GRAY[2] * blue


def rgb_to_hsv(rgb: Colours) -> Colours:
    """Hue (0 red, 1/3 green, 2/3 blue), saturation, value. Grey has hue and saturation 0."""
    hue, chroma, value = hue_chroma_value(*(rgb[..., i] for i in range(3)))
    saturation = chroma / jnp.where(value > 0, value, 1.0)
    return jnp.stack([hue / 6, saturation, value], axis=-1)


def hsv_to_rgb(hsv: Colours) -> Colours:
    """The inverse of `rgb_to_hsv`; a hue beyond 0 to 1 goes round."""
    hue, saturation, value = (hsv[..., i] for i in range(3))
    return jnp.stack(rgb_of(6 * (hue % 1.0), saturation * value, value), axis=-1)


def hue_chroma_value(red: Array, green: Array, blue: Array) -> tuple[Array, Array, Array]:
    """Hue from 0 to 6, the distance of the largest and the smallest plane, and the largest."""
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    scale = 1.0 / jnp.where(chroma > 0, chroma, 1.0)
    # Compared in pairs, not with the largest: a compiler that works a plane out twice may round it
    # otherwise, and no plane would equal the largest.
    hue = jnp.where(
        (red >= green) & (red >= blue),
        (green - blue) * scale,
        jnp.where(green >= blue, 2 + (blue - red) * scale, 4 + (red - green) * scale),
    )
    return jnp.where(hue < 0, hue + 6, hue), chroma, value


def rgb_of(hue: Array, chroma: Array, value: Array) -> tuple[Array, Array, Array]:
    """Three planes of a hue from 0 to 6: value - chroma max(0, min(k, 4 - k, 1)), k = hue + 5, 3, 1."""

    def plane(offset: float) -> Array:
        k = hue + offset
        k = jnp.where(k >= 6, k - 6, k)
        return value - chroma * jnp.clip(jnp.minimum(k, 4 - k), 0.0, 1.0)

    return plane(5.0), plane(3.0), plane(1.0)


def rgb_to_lab(rgb: Colours) -> Colours:
    """CIE L*a*b*."""
    bright = rgb > 0.04045
    raised = jnp.where(bright, (rgb + 0.055) / 1.055, 1.0) ** 2.4
    linear = jnp.where(bright, raised, rgb / 12.92)
    x, y, z = (_root(part) for part in _mix(XYZ / WHITE[:, None], linear))
    return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lab_to_rgb(lab: Colours) -> Colours:
    """The inverse of `rgb_to_lab`; what no screen can show is cut to 0 to 1."""
    y = (lab[..., 0] + 16) / 116
    x, z = y + lab[..., 1] / 500, jnp.maximum(y - lab[..., 2] / 200, 0.0)
    cubes = jnp.stack([_cube(part) for part in (x, y, z)], axis=-1)
    linear = jnp.stack(_mix(np.linalg.inv(XYZ) * WHITE, cubes), axis=-1)
    bright = linear > 0.0031308
    raised = 1.055 * jnp.where(bright, linear, 1.0) ** (1 / 2.4) - 0.055
    return jnp.clip(jnp.where(bright, raised, 12.92 * linear), 0.0, 1.0)


def _mix(matrix: np.ndarray, colours: Colours) -> list[Array]:
    """The planes of matrix @ colour, as sums: matrix units would round to half precision."""
    x, y, z = (colours[..., i] for i in range(3))
    return [float(a) * x + float(b) * y + float(c) * z for a, b, c in matrix]


def _root(t: Array) -> Array:
    far = t > DARK
    return jnp.where(far, jnp.cbrt(jnp.where(far, t, 1.0)), 7.787 * t + 16 / 116)


def _cube(t: Array) -> Array:
    return jnp.where(t > 0.2068966, t**3, (t - 16 / 116) / 7.787)
