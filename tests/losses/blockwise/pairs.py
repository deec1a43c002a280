"""Sums over all pairs without blocks, for the tests of tiles: matrices that fit."""

import jax.numpy as jnp
import numpy as np

from jaxssl.losses.unit_vectors import to_unit


def example(rows=7, dim=4):
    """Unit vectors of two sides, and weights of which two are 0."""
    random = np.random.default_rng(rows)
    a, b = (to_unit(jnp.asarray(random.normal(size=(rows, dim)), jnp.float32)) for _ in "ab")
    weights = random.uniform(0.2, 2, rows).astype(np.float32)
    weights[[1, 4]] = 0
    return a, b, jnp.asarray(weights)
