"""What layers read beside states and parameters: their own keys and windows, positions, biases."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.models.layers.rotary import RotaryScaling
from jaxssl.models.recipes import bert, modern, modernbert, t5
from jaxssl.models.transformer_inputs import per_layer_inputs, rotary_positions, shared_inputs
from tests.models.small_models import lively


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


def test_scaled_frequencies_have_tables_and_no_base():
    config = modern(2, 16, 2, rotary_scaling=RotaryScaling(2.0))
    scaled = rotary_positions(config, 2 * jnp.arange(5)[None])
    assert scaled.bases == ()
    plain = rotary_positions(modern(2, 16, 2), jnp.arange(5)[None])
    np.testing.assert_allclose(scaled.tables, plain.tables, atol=1e-6)


def test_biases_are_of_relative_positions_alone():
    segments = jnp.ones((1, 5), jnp.int32)
    config = t5(2, 16, 2, positions="relative")
    shared = shared_inputs(config, segments, segments, lively(config).relative_biases)
    assert shared.biases.shape == (2, 5, 5)
    assert shared.rotation is None
    assert shared_inputs(modern(2, 16, 2), segments, segments, None).biases is None
