"""Patches there and back, fixed positions by hand, and learned ones that are interpolated."""

import math

import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.layers.patches import (
    convolve_patches,
    join_patches,
    resize_positions,
    sine_positions,
    split_patches,
)
from tests.models.vision_reference import images


def test_patches_and_back():
    x = images(2, 8, 12)
    patches = split_patches(x, 4)
    assert patches.shape == (2, 6, 48)
    np.testing.assert_array_equal(patches[1, 4].reshape(4, 4, 3), x[1, 4:8, 4:8])
    np.testing.assert_array_equal(join_patches(patches, 4, 8, 12), x)
    with pytest.raises(InputError, match="8x10 are not made of patches of 4x4"):
        split_patches(images(1, 8, 10), 4)


def test_a_convolution_of_patches_is_their_product():
    x, kernel = images(2, 8, 12), np.linspace(-1, 1, 48 * 5, dtype=np.float32).reshape(48, 5)
    found = convolve_patches(x, kernel, 4)
    np.testing.assert_allclose(found, split_patches(x, 4) @ kernel, atol=1e-5)
    with pytest.raises(InputError, match="8x10 are not made of patches of 4x4"):
        convolve_patches(images(1, 8, 10), kernel, 4)


def test_positions_by_hand():
    found = np.asarray(sine_positions(2, 3, 8))
    row, column = 1, 2
    quarter = [
        [f(p / 10_000 ** (i / 2)) for i in range(2)]
        for p in (column, row)
        for f in (math.sin, math.cos)
    ]
    np.testing.assert_allclose(found[row * 3 + column], np.ravel(quarter), atol=1e-6)


def test_interpolated_positions():
    """A linear function of row and column stays one in the middle; equal sizes change nothing."""
    rows, columns = np.mgrid[0:8, 0:8].astype(np.float32)
    table = np.stack([rows, columns, rows + 2 * columns], axis=-1)
    np.testing.assert_allclose(resize_positions(table, 8, 8), table, atol=1e-5)
    larger = np.asarray(resize_positions(table, 16, 8))
    assert larger.shape == (16, 8, 3)
    # Centres of pixels: row r of 16 lies at (r + 1/2) / 2 - 1/2 of 8.
    middle = np.arange(4, 12)
    np.testing.assert_allclose(larger[middle, 4, 0], (middle + 0.5) / 2 - 0.5, atol=1e-5)
    np.testing.assert_allclose(larger[middle, 4, 1], 4, atol=1e-5)
