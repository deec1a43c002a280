"""Layers one by one against the stack, and what they read beside states and parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.transformer_inputs import SharedLayerInputs, per_layer_inputs, rotary_positions
from tests.models.small_models import RECIPES, SEGMENTS, TOKENS, lively, states_of

ALL = pytest.mark.parametrize("recipe", RECIPES)


@ALL
def test_stacked_layers_are_a_loop_over_layers(recipe):
    config = RECIPES[recipe]
    model, segments = lively(config), jnp.asarray(SEGMENTS)
    positions = jnp.asarray(reference_positions(SEGMENTS))
    each = per_layer_inputs(config, None)

    @jax.jit
    def loop(model):
        x = model.embed(jnp.asarray(TOKENS), positions)
        every = SharedLayerInputs(segments, rotary_positions(config, positions))
        for i in range(config.depth):
            layer, one = jax.tree.map(lambda leaf, i=i: leaf[i], (model.layers, each))
            x = layer(x, one, every)
        return x if model.final_norm is None else model.final_norm(x)

    x = loop(model)
    np.testing.assert_allclose(states_of(model), x, atol=1e-5)


def reference_positions(segments):
    return np.array([[list(row[:i]).count(s) for i, s in enumerate(row)] for row in segments])
