"""Colour spaces against scikit-image, the standard library and constants worked out by hand."""

import colorsys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.augment import colours

hsv_to_rgb, lab_to_rgb, rgb_to_gray, rgb_to_hsv, rgb_to_lab = map(
    jax.jit,
    (
        colours.hsv_to_rgb,
        colours.lab_to_rgb,
        colours.rgb_to_gray,
        colours.rgb_to_hsv,
        colours.rgb_to_lab,
    ),
)
GRID = np.stack(np.meshgrid(*[np.linspace(0, 1, 9, dtype=np.float32)] * 3), axis=-1)


def test_lab_agrees_with_scikit_image():
    color = pytest.importorskip("skimage.color")
    random = np.random.default_rng(0).random((40, 50, 3)).astype(np.float32)
    for rgb in (GRID.reshape(9, 81, 3), random):
        lab = color.rgb2lab(rgb.astype(np.float64))
        np.testing.assert_allclose(rgb_to_lab(rgb), lab, atol=1e-4)
        np.testing.assert_allclose(lab_to_rgb(lab.astype(np.float32)), rgb, atol=1e-4)
    # Colours outside sRGB are clipped in the same way.
    wild = np.random.default_rng(1).uniform([0, -120, -120], [100, 120, 120], (40, 50, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = color.lab2rgb(wild)
    np.testing.assert_allclose(lab_to_rgb(wild.astype(np.float32)), expected, atol=1e-4)


def test_lab_of_known_colours():
    rgb = np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    lab = [  # Lindbloom's calculator, sRGB under D65, to what the two matrices have in common
        [100.0, 0.0, 0.0],
        [0.0, 0.0, 0.0],
        [53.24, 80.09, 67.20],
        [87.73, -86.18, 83.18],
        [32.30, 79.19, -107.86],
    ]
    np.testing.assert_allclose(rgb_to_lab(rgb), lab, atol=0.02)
    np.testing.assert_allclose(lab_to_rgb(rgb_to_lab(GRID)), GRID, atol=1e-5)


def test_hsv_agrees_with_the_standard_library():
    flat = GRID.reshape(-1, 3)
    expected = np.array([colorsys.rgb_to_hsv(*map(float, colour)) for colour in flat])
    np.testing.assert_allclose(rgb_to_hsv(flat), expected, atol=1e-6)
    np.testing.assert_allclose(hsv_to_rgb(expected.astype(np.float32)), flat, atol=1e-6)
    turned = jnp.asarray(expected, jnp.float32) + jnp.array([[1.0, 0, 0]])  # once round
    np.testing.assert_allclose(hsv_to_rgb(turned), flat, atol=2e-6)


def test_gray_and_gradients():
    assert float(rgb_to_gray(jnp.array([1.0, 0.5, 0.25]))[0]) == pytest.approx(0.6209, abs=1e-6)
    for convert in (rgb_to_lab, lab_to_rgb, rgb_to_hsv, hsv_to_rgb):
        slope = jax.jit(jax.grad(lambda grid, convert=convert: convert(grid).sum()))(GRID)
        assert np.isfinite(slope).all(), convert.__name__


def test_the_two_matrices_are_inverses():
    product = np.array(colours.XYZ_OF_LINEAR) @ np.array(colours.LINEAR_OF_XYZ)
    np.testing.assert_allclose(product, np.eye(3), atol=1e-15)
    # White is white: each row of the matrix adds up to D65, as far as both are rounded.
    np.testing.assert_allclose(np.sum(colours.XYZ_OF_LINEAR, axis=1), colours.WHITE, atol=1e-4)


def test_hue_chroma_value_and_back():
    channels = tuple(np.moveaxis(GRID, -1, 0))
    hue, chroma, value = jax.jit(colours.hue_chroma_value)(*channels)
    assert (hue >= 0).all()
    assert (hue <= 6).all()
    np.testing.assert_allclose(value - chroma, GRID.min(axis=-1), atol=1e-6)
    back = jax.jit(colours.rgb_of)(hue, chroma, value)
    np.testing.assert_allclose(jnp.stack(back, axis=-1), GRID, atol=1e-6)
    yellow = colours.hue_chroma_value(jnp.float32(1), jnp.float32(1), jnp.float32(0))
    assert yellow == (1, 1, 1)
