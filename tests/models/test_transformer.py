"""The network against a slow reference from the papers, and against itself run in other ways."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.layers.dense import ACTIVATIONS
from jaxssl.models.layers.rotary import RotaryScaling
from jaxssl.models.plain import from_dict, to_dict
from jaxssl.models.recipes import bart, bert, gpt2, modern, t5
from jaxssl.sharding.layout import axes_of
from tests.models import reference
from tests.models.small_models import RECIPES, SEGMENTS, TOKENS, VOCABULARY, lively, states_of

ALL = pytest.mark.parametrize("recipe", RECIPES)
REAL = SEGMENTS != 0


@ALL
def test_states_are_those_of_the_slow_reference(recipe):
    config = RECIPES[recipe]
    model = lively(config)
    types = np.array([[0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0]] * 2) if config.segment_types else None
    given = None if types is None else jnp.asarray(types)
    ours = np.asarray(states_of(model, types=given))[REAL]
    slow = reference.states(config, to_dict(model), TOKENS, SEGMENTS, types)[REAL]
    np.testing.assert_allclose(ours, slow, atol=2e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("causal", [False, True])
def test_every_activation_causal_or_not(activation, causal):
    config = modern(2, 16, 2, activation=activation, causal=causal, window=1, global_every=0)
    model = lively(config)
    slow = reference.states(config, to_dict(model), TOKENS, SEGMENTS)[REAL]
    np.testing.assert_allclose(np.asarray(states_of(model))[REAL], slow, atol=2e-5)


# Heads that are not as wide as the states, queries and keys that are normalised, with either norm, and
# what networks of other libraries have.
SHAPES = {
    "wide heads": bert(2, 16, 3, head_width=8, max_length=16),
    "narrow heads": modern(2, 16, 4, kv_heads=2, head_width=2, max_length=16),
    "normalised": bert(2, 16, 2, qk_norm=True, max_length=16),
    "both": modern(3, 16, 3, kv_heads=1, head_width=6, qk_norm=True, window=2, global_every=2),
    "llama 3": modern(2, 16, 2, qkv_bias=True, causal=True, rotary_scaling=RotaryScaling(8.0, 9)),
    "t5": t5(2, 16, 4, positions="relative", attention_scale=1.0, output_scale=0.25),
    "bart": bart(2, 16, 4, position_offset=2, embedding_scale=4.0, max_length=16),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_fields_that_recipes_leave_as_they_are(shape):
    config = SHAPES[shape]
    model = lively(config)
    assert model.layers.attention.query.kernel.shape[-1] == config.heads * config.head_dim
    slow = reference.states(config, to_dict(model), TOKENS, SEGMENTS)[REAL]
    np.testing.assert_allclose(np.asarray(states_of(model))[REAL], slow, atol=2e-5)
    axes = axes_of(model)
    assert None not in axes.values()
    assert ("layers/attention/query_norm/scale" in axes) == config.qk_norm
    assert ("relative_biases/embedding" in axes) == (config.positions == "relative")
    assert ("layers/attention/query/bias" in axes) == (config.bias or config.qkv_bias is True)


def test_normalised_queries_and_keys_have_no_size(key):
    """Kernels that are larger by any factor give the same states."""
    config = modern(2, 16, 2, qk_norm=True, norm_epsilon=1e-12, max_length=16)
    model, parameters = lively(config), to_dict(lively(config))
    for name in ("query", "key"):
        kernel = parameters["layers"]["attention"][name]["kernel"]
        parameters["layers"]["attention"][name]["kernel"] = 7 * kernel
    np.testing.assert_allclose(states_of(from_dict(model, parameters)), states_of(model), atol=1e-5)


@pytest.mark.parametrize("local", [False, True])
def test_longer_rows(local):
    """Rows of twice max_length: a global layer sees all of their 24 positions."""
    window = {"window": 2, "global_every": 2} if local else {}
    config = modern(3, 16, 2, max_length=12, longer_rows=True, **window)
    model = lively(config)
    tokens = np.concatenate([TOKENS, TOKENS], axis=1)
    segments = np.ones_like(tokens)
    slow = reference.states(config, to_dict(model), tokens, segments)
    np.testing.assert_allclose(states_of(model, tokens, segments), slow, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "remat"), [("bert", "inputs"), ("modernbert", "activations")])
def test_computing_again_gives_equal_gradients(recipe, remat, key):
    config = replace(RECIPES[recipe], dropout=0.1)
    model = lively(config)
    kept = gradient(model, key)
    again = gradient(jax.tree.unflatten(form_of(config, remat), jax.tree.leaves(model)), key)
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def form_of(config, remat):
    make = replace(config, remat=remat).make
    return jax.tree.structure(jax.eval_shape(lambda k: make(k, VOCABULARY), jax.random.key(0)))


def gradient(model, key):
    aim = jax.random.normal(jax.random.key(5), (*TOKENS.shape, model.config.width))
    return jax.jit(jax.grad(lambda m: (states_of(m, key=key) * aim).sum()))(model)


@ALL
def test_bfloat16_computes_in_bfloat16_with_float32_parameters(recipe):
    config = RECIPES[recipe]
    exact, model = lively(config), lively(replace(config, compute_dtype="bfloat16"))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(model))
    states = states_of(model)
    assert states.dtype == jnp.bfloat16
    apart = np.asarray(states, np.float32)[REAL] - np.asarray(states_of(exact))[REAL]
    assert np.sqrt((apart**2).mean()) < 0.05  # states are of order 1, bfloat16 has 8 bits


@ALL
def test_the_program_does_not_grow_with_depth(recipe):
    def equations(depth):
        model = lively(replace(RECIPES[recipe], depth=depth))
        program = jax.make_jaxpr(jax.grad(lambda m: states_of(m).sum().astype(jnp.float32)))(model)
        return str(program).count(" = ")

    assert equations(4) == equations(9)


def test_initial_deviation_and_scaled_residual_kernels(key):
    model = gpt2(8, 64, 4).make(key, 100)
    for kernel, deviation in (
        (model.tokens.embedding, 0.02),
        (model.layers.attention.query.kernel, 0.02),
        (model.layers.attention.output.kernel, 0.02 / 4),
        (model.layers.mlp.down.kernel, 0.02 / 4),
    ):
        np.testing.assert_allclose(kernel[...].std(), deviation, rtol=0.05)
    query = np.asarray(model.layers.attention.query.kernel[...])
    assert np.abs(query[0] - query[1]).mean() > 0.01  # layers start different


@ALL
def test_dropout_acts_only_with_a_key_and_follows_it(recipe, key):
    model = lively(replace(RECIPES[recipe], dropout=0.2))
    plain, first, again = states_of(model), states_of(model, key=key), states_of(model, key=key)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, plain, atol=1e-2)
    assert not np.allclose(first, states_of(model, key=jax.random.key(9)), atol=1e-2)


@pytest.mark.parametrize("recipe", ["bert", "modernbert"])
def test_an_empty_row_gives_finite_states_and_gradients(recipe):
    model = lively(RECIPES[recipe])
    tokens = np.concatenate([TOKENS, np.zeros_like(TOKENS[:1])])
    segments = np.concatenate([SEGMENTS, np.zeros_like(SEGMENTS[:1])])

    def total(model):
        states = states_of(model, tokens, segments)
        return jnp.square(states).sum(), states

    gradients, states = jax.jit(jax.grad(total, has_aux=True))(model)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((gradients, states)))


def test_wrong_input_is_named():
    model = lively(gpt2(1, 8, 1, max_length=8))
    with pytest.raises(InputError, match="rows of 12 tokens exceed max_length 8"):
        states_of(model)
    with pytest.raises(InputError, match="segment_types=0"):
        states_of(model, TOKENS[:, :8], SEGMENTS[:, :8], types=jnp.zeros((2, 8), int))
    with pytest.raises(InputError, match=r"\(2, 8\).*\(2, 7\)|\(2, 7\).*\(2, 8\)"):
        states_of(model, TOKENS[:, :8], SEGMENTS[:, :7])
