"""The states of every layer: those of layers applied one by one, the same on eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.models.plain import to_dict
from jaxssl.models.recipes import bert, vit
from jaxssl.models.transformer_inputs import SharedLayerInputs, per_layer_inputs
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.sharding.layout import shardings
from jaxssl.sharding.mesh import Mesh
from tests.models import reference
from tests.models.small_models import (
    RECIPES,
    SEGMENTS,
    TOKENS,
    filled,
    lively,
    states_of,
)

ALL = pytest.mark.parametrize("recipe", RECIPES)
REAL = SEGMENTS != 0
VIT = VisionTransformerConfig(vit(depth=3, width=16, heads=4), patch=4, registers=2)


@jax.jit
def hidden_states_of(model, tokens, segments, **options):
    return model.hidden_states(jnp.asarray(tokens), segments, **options)


@ALL
def test_every_entry_is_that_of_the_slow_reference(recipe):
    config = RECIPES[recipe]
    model = lively(config)
    states = hidden_states_of(model, TOKENS, jnp.asarray(SEGMENTS))
    assert states.shape == (config.depth + 1, *TOKENS.shape, config.width)
    slow = reference.hidden_states(config, to_dict(model), TOKENS, SEGMENTS)
    np.testing.assert_allclose(np.asarray(states)[:, REAL], slow[:, REAL], atol=2e-5)
    last = states[-1] if model.final_norm is None else model.final_norm(states[-1])
    np.testing.assert_allclose(last, states_of(model), atol=1e-5)


def test_dropout_is_that_of_a_call(key):
    model = lively(bert(2, 16, 4, max_length=16))
    states = hidden_states_of(model, TOKENS, jnp.asarray(SEGMENTS), key=key)
    np.testing.assert_allclose(states[-1], states_of(model, key=key), atol=1e-5)
    assert np.abs(states[-1] - states_of(model)).max() > 1e-2


def test_states_are_in_the_compute_dtype_with_widened_embeddings_first():
    config = bert(2, 16, 4, embedding_width=8, max_length=16, compute_dtype="bfloat16")
    states = hidden_states_of(lively(config), TOKENS, jnp.asarray(SEGMENTS))
    assert states.dtype == jnp.bfloat16
    assert states.shape == (3, *TOKENS.shape, 16)


@pytest.mark.parametrize("recipe", ["bert", "modernbert"])
def test_without_segments_every_row_is_one_document(recipe):
    model = lively(RECIPES[recipe])
    tokens, ones = jnp.asarray(TOKENS), jnp.ones(TOKENS.shape, int)
    np.testing.assert_array_equal(model(tokens), model(tokens, ones))
    np.testing.assert_array_equal(model.hidden_states(tokens), model.hidden_states(tokens, ones))


def images(batch):
    random = np.random.default_rng(0)
    return jnp.asarray(random.normal(size=(batch, 8, 12, 3)), jnp.float32)


@pytest.mark.slow
def test_those_of_images_are_a_loop_over_blocks():
    model, x = filled(lambda key: VIT.make(key, 3)), images(2)
    states = jax.jit(lambda model, x: model.hidden_states(x))(model, x)
    assert states.shape == (4, 2, 1 + 2 + 6, 16)
    np.testing.assert_allclose(states[0, :, 3:], model.embed(x), atol=1e-5)
    np.testing.assert_array_equal(states[0, 1, :3], np.concatenate([model.token, model.registers]))
    shared = SharedLayerInputs(jnp.ones(states.shape[1:3], int), None)
    each = per_layer_inputs(VIT.blocks, None)
    for i in range(3):
        layer, one = jax.tree.map(lambda leaf, i=i: leaf[i], (model.blocks.layers, each))
        np.testing.assert_allclose(layer(states[i], one, shared), states[i + 1], atol=1e-5)
    features, _ = model(x)
    np.testing.assert_allclose(model.blocks.final_norm(states[-1])[:, 0], features, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(jax.device_count() < 8, reason="needs eight (simulated) devices")
@pytest.mark.parametrize("kind", ["modernbert", "stream", "images"])
def test_the_same_on_eight_devices(kind):
    """States and gradients of 2 x 2 x 2 devices are those of one; the states are sharded by rows."""
    mesh = Mesh(2, 2, 2).make()
    if kind == "images":
        model, inputs = filled(lambda key: VIT.make(key, 3)), (images(8),)
    else:
        config = RECIPES["modernbert"] if kind == "modernbert" else SEQUENCE_PARALLEL
        model = lively(config, vocabulary=24)
        inputs = tuple(jnp.asarray(np.concatenate([x] * 4)) for x in (TOKENS, SEGMENTS))
    aim = jax.random.normal(jax.random.key(1), jax.eval_shape(model.hidden_states, *inputs).shape)

    def total(model, *inputs):
        states = model.hidden_states(*inputs)
        return (states * aim).sum(), states

    def on_mesh(model, *inputs):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return jax.grad(total, has_aux=True)(model, *inputs)

    alone = jax.jit(jax.grad(total, has_aux=True))(model, *inputs)
    sharded = jax.device_put(model, shardings(model, mesh))
    rows = jax.device_put(inputs, NamedSharding(mesh, PartitionSpec(("data", "fsdp"))))
    gradients, states = jax.jit(on_mesh)(sharded, *rows)
    np.testing.assert_allclose(states, alone[1], atol=1e-5)
    assert states.sharding.shard_shape(states.shape)[1] == 2  # of eight rows
    for a, b in zip(jax.tree.leaves(gradients), jax.tree.leaves(alone[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


SEQUENCE_PARALLEL = bert(3, 16, 4, max_length=16, sequence_parallel=True, remat="inputs")
