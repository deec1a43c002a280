"""Linear layers, embeddings, norms and feed-forward parts by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxssl.models.layers.dense import (
    ACTIVATIONS,
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    RMSNorm,
    gelu,
    make_norm,
    standardize,
    with_kernels_in,
)
from jaxssl.sharding.mesh import Mesh, batch_sharding

X = np.array([[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 2.0, -2.0]], np.float32)


def test_linear_by_hand(key):
    layer = Linear(key, 4, 3, stddev=0.5)
    layer.bias[...] = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(layer(X), X @ np.asarray(layer.kernel[...]) + [1, 2, 3], rtol=1e-6)
    narrow = X.astype(jnp.bfloat16)
    assert layer(narrow[None, None]).dtype == jnp.bfloat16
    kernel = np.asarray(layer.kernel[...].astype(jnp.bfloat16), np.float32)
    np.testing.assert_allclose(layer(narrow, as_logits=True), X @ kernel + [1, 2, 3], rtol=1e-6)
    assert Linear(key, 4, 3, stddev=0.5, bias=False).bias is None
    assert float(Linear(key, 100, 100, stddev=0.5).kernel[...].std()) == pytest.approx(
        0.5, rel=0.05
    )


def test_kernels_are_cast_and_nothing_else(key):
    part = nnx.Dict(dense=Linear(key, 4, 3, stddev=0.5), norm=LayerNorm(3, epsilon=0.1))
    cast = with_kernels_in(part, jnp.bfloat16)
    assert cast["dense"].kernel.dtype == jnp.bfloat16
    assert cast["dense"].bias.dtype == cast["norm"].scale.dtype == jnp.float32
    assert part["dense"].kernel.dtype == jnp.float32
    narrow = X.astype(jnp.bfloat16)
    np.testing.assert_array_equal(cast["dense"](narrow), part["dense"](narrow))


def test_the_gradient_of_a_bias_is_summed_in_float32(key):
    layer, rows = Linear(key, 4, 1, stddev=0.5), jnp.zeros((1025, 4), jnp.bfloat16)
    slopes = jax.grad(lambda layer: layer(rows).astype(jnp.float32).sum())(layer)
    assert float(slopes.bias[0]) == 1025  # 1024 in bfloat16


def test_an_embedding_looks_rows_up(key):
    table = Embedding(key, 5, 2, stddev=1.0)
    ids = jnp.array([[4, 0, 4]])
    np.testing.assert_array_equal(table(ids)[0], np.asarray(table.embedding[...])[[4, 0, 4]])
    np.testing.assert_array_equal(table(ids, "vocab"), table(ids))


def test_norms_by_hand():
    """Row 0 has mean 3, variance 3.5 and mean square 12.5; row 1 has mean 0 and variance 2."""
    centred = np.array([[-2, -1, 0, 3], [0, 0, 2, -2]]) / np.sqrt([[3.5], [2.0]])
    np.testing.assert_allclose(standardize(X, 0.0), centred, rtol=1e-6)
    layer = LayerNorm(4, epsilon=0.5)
    layer.scale[...], layer.bias[...] = 2 * jnp.ones(4), jnp.ones(4)
    np.testing.assert_allclose(layer(X)[0], 1 + 2 * np.array([-2, -1, 0, 3]) / 2, rtol=1e-6)
    np.testing.assert_allclose(RMSNorm(4, epsilon=0.0)(X)[0], X[0] / math.sqrt(12.5), rtol=1e-6)
    assert RMSNorm(4, epsilon=0.0)(X.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_the_derivative_of_standardize_is_that_of_its_formula():
    def formula(x):
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / jnp.sqrt((centred**2).mean(axis=-1, keepdims=True) + 0.5)

    direction = jnp.flip(X, axis=1)
    ours = jax.jvp(lambda x: standardize(x, 0.5), (X,), (direction,))
    np.testing.assert_allclose(ours, jax.jvp(formula, (X,), (direction,)), atol=1e-6)
    slopes = jax.grad(lambda x: (direction * standardize(x, 0.5)).sum())(X)
    expected = jax.grad(lambda x: (direction * formula(x)).sum())(X)
    np.testing.assert_allclose(slopes, expected, atol=1e-6)


def test_make_norm():
    assert isinstance(make_norm("rms", 4, epsilon=0.1, bias=True), RMSNorm)
    assert make_norm("layer", 4, epsilon=0.1, bias=False).bias is None


FORMULAS = {
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: (
        0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "quick_gelu": lambda x: x / (1 + math.exp(-1.702 * x)),
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x / (1 + math.exp(-x)),
}
GATED = {"swiglu": "silu", "geglu": "gelu", "geglu_tanh": "gelu_tanh"}
FORMULAS |= {name: FORMULAS[plain] for name, plain in GATED.items()}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_feed_forward_by_hand(name, key):
    part = FeedForward(key, 4, 6, activation=name, bias=True, stddev=0.5, out_stddev=0.5)
    gated = name in GATED
    assert (part.gate is not None) == gated
    function = np.vectorize(FORMULAS[name])
    up = X @ np.asarray(part.up.kernel[...])
    inner = function(X @ np.asarray(part.gate.kernel[...])) * up if gated else function(up)
    np.testing.assert_allclose(
        part(X[None])[0], inner @ np.asarray(part.down.kernel[...]), atol=1e-5
    )


def test_gelu_is_that_of_jax():
    x = jnp.linspace(-4, 4, 33)
    np.testing.assert_allclose(gelu(x), jax.nn.gelu(x, approximate=False), atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "quick_gelu", "silu"])
def test_activations_in_half_precision_are_rounded_once(name, dtype):
    """In bfloat16, GELU at -3 was -0.00586 instead of -0.00405: 1 + erf(-2.1) cancels."""
    x = jnp.linspace(-6, 6, 97).astype(dtype)
    function = ACTIVATIONS[name][0]
    exact = np.vectorize(FORMULAS[name])(np.asarray(x, np.float64))
    step = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(function(x), np.float64), exact, rtol=step, atol=1e-6)
    slopes = jax.grad(lambda x: function(x).astype(jnp.float32).sum())(x)
    ends = np.asarray(x, np.float64)[None] + np.array([[-1e-4], [1e-4]])
    low, high = np.vectorize(FORMULAS[name])(ends)
    np.testing.assert_allclose(
        np.asarray(slopes, np.float64), (high - low) / 2e-4, rtol=step, atol=1e-6
    )
    assert slopes.dtype == function(x).dtype == dtype


def test_an_activation_keeps_one_array_for_the_backward_pass():
    x = jnp.linspace(-1, 1, 8).astype(jnp.bfloat16)
    for name in ("gelu", "gelu_tanh", "quick_gelu", "silu"):
        _, transpose = jax.vjp(ACTIVATIONS[name][0], x)
        kept = [leaf for leaf in jax.tree.leaves(transpose) if jnp.size(leaf) > 1]
        assert [leaf.dtype for leaf in kept] == [jnp.bfloat16]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_an_id_that_no_row_has_is_nan_on_every_mesh(shape, key):
    table = Embedding(key, 12, 8, stddev=1.0)
    ids = jnp.tile(jnp.array([[0, 11, 12, -1, 99]]), (8, 1))
    mesh = Mesh(*shape).make(jax.devices()[: math.prod(shape)])
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        found = jax.jit(lambda: table(ids, "vocab"), out_shardings=batch_sharding(mesh))()
    assert np.isnan(np.asarray(found)).all(axis=(0, 2)).tolist() == [False, False, True, True, True]
    np.testing.assert_array_equal(found[:, :2], np.asarray(table.embedding[...])[[[0, 11]] * 8])
