"""The head of an embedding regressor gives vectors of the encoder's width."""

import jax
import jax.numpy as jnp

from jaxssl.models.pretraining.embedding_regressor import EmbeddingRegressor
from jaxssl.models.recipes import modern
from jaxssl.sharding.layout import axes_of


def test_shapes_and_layout(key):
    model = jax.eval_shape(lambda: EmbeddingRegressor(key, modern(1, 16, 2), 23))
    assert model.head.up.kernel.shape == (16, 32)
    assert model.head.gate is None  # GELU, whatever the network has
    found = jax.eval_shape(lambda model, x: model.head(x), model, jnp.zeros((2, 3, 16)))
    assert found.shape == (2, 3, 16)
    assert None not in axes_of(model).values()
