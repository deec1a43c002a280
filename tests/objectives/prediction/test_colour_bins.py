"""Bins of colours, soft encoding, rebalancing and annealed means against slow references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.augment import rgb_to_lab
from jaxssl.objectives.prediction.colour_bins import BINS, annealed_mean, rebalance, soft_bins


def test_bins_are_the_cells_of_all_colours():
    """Cells of the surface of the cube of 8-bit colours: what lies inside has the a and b of some on it."""
    color = pytest.importorskip("skimage.color")
    levels = np.arange(256) / 255
    square = np.stack(np.meshgrid(levels, levels), axis=-1).reshape(-1, 2)
    cells = set()
    for axis in range(3):
        for end in (0.0, 1.0):
            lab = color.rgb2lab(np.insert(square, axis, end, axis=1))
            cells |= set(map(tuple, np.round(lab[:, 1:] / 10).astype(int) * 10))
    assert set(map(tuple, BINS.astype(int))) == cells
    assert len(BINS) == 261


def test_soft_encoding():
    """The 5 nearest of all, by sorting, each by the normal density at its distance."""
    random = np.random.default_rng(0)
    rgb = random.random((40, 3)).astype(np.float32)
    ab = np.concatenate([np.asarray(rgb_to_lab(jnp.asarray(rgb)))[:, 1:], [[0, 0], [95, -60]]])
    soft, nearest = jax.jit(soft_bins)(jnp.asarray(ab, jnp.float32))
    for colour, shares, first in zip(ab.astype(np.float64), soft, nearest, strict=True):
        apart = np.sqrt(np.square(BINS - colour).sum(axis=1))
        five = np.argsort(apart, kind="stable")[:5]
        expected = np.zeros(len(BINS))
        expected[five] = np.exp(-np.square(apart[five]) / (2 * 5.0**2))
        np.testing.assert_allclose(shares, expected / expected.sum(), atol=1e-5)
        assert first == five[0]
    grey = soft[40][np.flatnonzero((BINS == 0).all(axis=1))[0]]
    assert grey == pytest.approx(1 / (1 + 4 * np.exp(-2)))  # itself, and four at distance 10


def test_annealed_mean():
    """T = 1 is the mean, a small T the mode, 0.38 as written in the paper's equation 5."""
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (2, 3, len(BINS))).astype(np.float32)
    shares = np.exp(logits.astype(np.float64))
    shares /= shares.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(annealed_mean(logits, 1.0), shares @ BINS, atol=1e-3)
    np.testing.assert_allclose(annealed_mean(logits, 1e-3), BINS[logits.argmax(axis=-1)], atol=1e-2)
    cooled = np.exp(np.log(shares) / 0.38)
    cooled /= cooled.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(annealed_mean(logits, 0.38), cooled @ BINS, atol=1e-3)


def test_rebalancing():
    prior = np.random.default_rng(2).dirichlet(np.full(len(BINS), 0.1)).astype(np.float32)
    weights = np.asarray(rebalance(jnp.asarray(prior), 0.5))
    expected = [1 / (0.5 * p + 0.5 / len(BINS)) for p in prior.astype(np.float64)]
    expected /= np.dot(prior, expected)
    np.testing.assert_allclose(weights, expected, rtol=1e-4)
    np.testing.assert_allclose(rebalance(jnp.asarray(prior), 1.0), 1.0, rtol=1e-4)
