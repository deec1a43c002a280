"""Colour spaces: gray, HSV and CIE Lab, for arrays whose last axis is red, green and blue from 0 to 1 (sRGB).

    gray   0.2989 red + 0.587 green + 0.114 blue (ITU-R BT.601)
    HSV    hue, saturation and value, each from 0 to 1
    Lab    CIE 1976 L* (0 to 100), a*, b*; white is D65 for the observer of 2 degrees

The results agree with scikit-image to 1e-4. Everything is elementwise and has finite gradients.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

GRAY = (0.2989, 0.587, 0.114)
WHITE = (0.95047, 1.0, 1.08883)  # D65 in XYZ
XYZ_OF_LINEAR = (  # matrix from linear red, green and blue to XYZ
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
LINEAR_OF_XYZ = (  # its inverse
    (3.240481343200526, -1.5371515162713185, -0.4985363261688878),
    (-0.9692549499965682, 1.8759900014898907, 0.04155592655829284),
    (0.05564663913517716, -0.20404133836651123, 1.0573110696453443),
)
DARK = 0.008856  # below it the cube root is replaced by a line
Colours = Float[Array, "*shape 3"]


def rgb_to_gray(rgb: Colours) -> Float[Array, "*shape 1"]:
    """Returns the luma of `rgb`, `[..., 3]`, as one channel, `[..., 1]`."""
    return gray_of(*jnp.split(rgb, 3, axis=-1))


def gray_of(red: Array, green: Array, blue: Array) -> Array:
    """Returns the luma of three channels, 0.2989 red + 0.587 green + 0.114 blue.

    Args:
      red: Red channel, `[...]`.
      green: Green channel, `[...]`.
      blue: Blue channel, `[...]`.

    Returns:
      Luma, `[...]`.
    """
    return GRAY[0] * red + GRAY[1] * green + GRAY[2] * blue


def rgb_to_hsv(rgb: Colours) -> Colours:
    """Converts `rgb`, `[..., 3]`, to hue, saturation and value, each from 0 to 1.

    Hue 0 is red, 1/3 green and 2/3 blue. Gray has hue and saturation 0.
    """
    hue, chroma, value = hue_chroma_value(*(rgb[..., i] for i in range(3)))
    saturation = chroma / jnp.where(value > 0, value, 1.0)
    return jnp.stack([hue / 6, saturation, value], axis=-1)


def hsv_to_rgb(hsv: Colours) -> Colours:
    """Converts `hsv`, `[..., 3]`, to red, green and blue: the inverse of `rgb_to_hsv`.

    A hue outside 0 to 1 is taken modulo 1.
    """
    hue, saturation, value = (hsv[..., i] for i in range(3))
    return jnp.stack(rgb_of(6 * (hue % 1.0), saturation * value, value), axis=-1)


def hue_chroma_value(red: Array, green: Array, blue: Array) -> tuple[Array, Array, Array]:
    """Computes hue, chroma and value of three channels.

    Args:
      red: Red channel, `[...]`.
      green: Green channel, `[...]`.
      blue: Blue channel, `[...]`.

    Returns:
      Hue from 0 to 6, chroma (the largest of the three less the smallest) and value (the largest),
      each `[...]`.
    """
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    scale = 1.0 / jnp.where(chroma > 0, chroma, 1.0)
    # Compared in pairs, not with the largest: a compiler that computes a channel twice may round it
    # differently, and then no channel would equal the largest.
    hue = jnp.where(
        (red >= green) & (red >= blue),
        (green - blue) * scale,
        jnp.where(green >= blue, 2 + (blue - red) * scale, 4 + (red - green) * scale),
    )
    return jnp.where(hue < 0, hue + 6, hue), chroma, value


def rgb_of(hue: Array, chroma: Array, value: Array) -> tuple[Array, Array, Array]:
    """Converts hue, chroma and value to red, green and blue: the inverse of `hue_chroma_value`.

        channel = value - chroma * max(0, min(k, 4 - k, 1)),   k = (hue + 5, 3 or 1) modulo 6

    Args:
      hue: Hue from 0 to 6, `[...]`.
      chroma: Largest less smallest channel, `[...]`.
      value: Largest channel, `[...]`.

    Returns:
      Red, green and blue, each `[...]`.
    """

    def channel(offset: float) -> Array:
        k = hue + offset
        k = jnp.where(k >= 6, k - 6, k)
        return value - chroma * jnp.clip(jnp.minimum(k, 4 - k), 0.0, 1.0)

    return channel(5.0), channel(3.0), channel(1.0)


def rgb_to_lab(rgb: Colours) -> Colours:
    """Converts `rgb`, `[..., 3]`, to CIE L*a*b*, `[..., 3]`."""
    bright = rgb > 0.04045
    raised = jnp.where(bright, (rgb + 0.055) / 1.055, 1.0) ** 2.4
    linear = jnp.where(bright, raised, rgb / 12.92)
    relative = [[a / white for a in row] for row, white in zip(XYZ_OF_LINEAR, WHITE, strict=True)]
    x, y, z = (_root(part) for part in _mix(relative, linear))
    return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lab_to_rgb(lab: Colours) -> Colours:
    """Converts `lab`, `[..., 3]`, to red, green and blue: the inverse of `rgb_to_lab`.

    Colours outside sRGB are clipped to 0 to 1.
    """
    y = (lab[..., 0] + 16) / 116
    x, z = y + lab[..., 1] / 500, jnp.maximum(y - lab[..., 2] / 200, 0.0)
    cubes = jnp.stack([_cube(part) for part in (x, y, z)], axis=-1)
    absolute = [[a * white for a, white in zip(row, WHITE, strict=True)] for row in LINEAR_OF_XYZ]
    linear = jnp.stack(_mix(absolute, cubes), axis=-1)
    bright = linear > 0.0031308
    raised = 1.055 * jnp.where(bright, linear, 1.0) ** (1 / 2.4) - 0.055
    return jnp.clip(jnp.where(bright, raised, 12.92 * linear), 0.0, 1.0)


def _mix(matrix: list[list[float]], colours: Colours) -> list[Array]:
    """The channels of matrix @ colour, as sums, because matrix units may round to half precision."""
    x, y, z = (colours[..., i] for i in range(3))
    return [a * x + b * y + c * z for a, b, c in matrix]


def _root(t: Array) -> Array:
    """The cube root of the Lab formulas, with a line in its place near 0."""
    far = t > DARK
    return jnp.where(far, jnp.cbrt(jnp.where(far, t, 1.0)), 7.787 * t + 16 / 116)


def _cube(t: Array) -> Array:
    """The inverse of `_root`."""
    return jnp.where(t > 0.2068966, t**3, (t - 16 / 116) / 7.787)
