"""Layers one by one against the stack, and what they read beside states and parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.recipes import bert, modern, modernbert
from jaxssl.models.transformer_layers import SharedLayerInputs, per_layer_inputs, rotary_positions
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
        x = model._embed(jnp.asarray(TOKENS), positions, None)
        every = SharedLayerInputs(segments, rotary_positions(config, positions))
        for i in range(config.depth):
            layer, one = jax.tree.map(lambda leaf, i=i: leaf[i], (model.layers, each))
            x = layer(x, one, every)
        return x if model.final_norm is None else model.final_norm(x)

    x = loop(model)
    np.testing.assert_allclose(states_of(model), x, atol=1e-5)


def reference_positions(segments):
    return np.array([[list(row[:i]).count(s) for i, s in enumerate(row)] for row in segments])


def test_per_layer_inputs_where_layers_are_alike():
    assert per_layer_inputs(bert(3), None) == (None, None, None, None)
    assert per_layer_inputs(bert(3), jax.random.key(0)).keys.shape == (3, 3)


def test_per_layer_inputs_where_layers_differ():
    own = per_layer_inputs(modernbert(4, window=8, max_length=32), None)
    assert own.window.tolist() == [32, 8, 8, 32]
    assert own.local.tolist() == [False, True, True, False]
    assert own.raw_input.tolist() == [True, False, False, False]


def test_global_layers_see_rows_of_any_length_where_they_may_be_longer():
    config = modern(2, window=8, global_every=2, max_length=32, longer_rows=True)
    assert per_layer_inputs(config, None).window.tolist() == [2**31 - 1, 8]


def test_rotary_positions_of_one_base_or_two():
    positions = jnp.arange(5)[None]
    assert rotary_positions(bert(2), positions) is None
    one = rotary_positions(modern(2, 16, 2), positions)
    assert one.tables.shape == (2, 1, 1, 5, 4)
    assert rotary_positions(modern(2, 16, 2, head_width=6), positions).tables.shape[-1] == 3
    two = rotary_positions(modernbert(4, 16, 2, window=2), positions)
    angle = 4 * 10_000.0 ** (-2 / 8)  # position 4, pair 1, the local base
    assert two.bases == (160_000.0, 10_000.0)
    assert two.tables.shape == (2, 2, 1, 5, 4)
    np.testing.assert_allclose(two.tables[:, 1, 0, 4, 1], [np.cos(angle), np.sin(angle)], atol=1e-6)
