"""One vector for every piece of a row, by hand."""

import jax.numpy as jnp
import numpy as np

from jaxssl.models.layers.pooling import pool_pieces

SEGMENTS = jnp.array([[1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1]])
STATES = jnp.arange(12, dtype=jnp.bfloat16).reshape(2, 6, 1)


def pooled(pooling, pieces=3):
    return pool_pieces(STATES, SEGMENTS, pieces=pieces, pooling=pooling)


def test_means_and_first_states_with_zeros_for_pieces_that_are_not_there():
    assert pooled("mean")[..., 0].tolist() == [[0.5, 3.0, 0.0], [8.5, 0.0, 0.0]]
    assert pooled("cls")[..., 0].tolist() == [[0.0, 2.0, 0.0], [6.0, 0.0, 0.0]]
    assert pooled("last")[..., 0].tolist() == [[1.0, 4.0, 0.0], [11.0, 0.0, 0.0]]
    assert pooled("mean").dtype == jnp.float32


def test_fewer_pieces_than_there_are():
    np.testing.assert_array_equal(pooled("mean", 1), pooled("mean")[:, :1])
