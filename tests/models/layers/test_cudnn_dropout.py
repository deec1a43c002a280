"""Dropout from kernels without dropout: the formula's numbers and gradients, with JAX's own attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.layers import fused_attention
from jaxssl.models.layers.attention import visible, xla_attention
from jaxssl.models.layers.cudnn_dropout import attention_with_dropout
from jaxssl.models.layers.dropout import keeps, key_words, random_bits
from jaxssl.models.layers.fused_attention import First, Rows, cudnn_attention, make_shared

LENGTH, RATE, KEY = 11, 0.3, jax.random.key(3)
SEGMENTS = jnp.array([[1] * 1 + [2] * 6 + [3] * 4, [1] * 11])  # a document of one token, too


def by_jax(queries, keys, values, mask):
    """JAX's formula for a mask, with the logarithms of the sums; cuDNN's kernel has the same interface."""
    return jax.nn.dot_product_attention(queries, keys, values, mask=mask, return_residual=True)


def arrays(kv_heads=4):
    keys = jax.random.split(jax.random.key(0), 3)
    heads = (4, kv_heads, kv_heads)
    return [jax.random.normal(k, (2, LENGTH, n, 8)) for k, n in zip(keys, heads, strict=True)]


def formula(causal, queries, keys, values):
    return xla_attention(
        queries, keys, values, SEGMENTS, key_segments=None, causal=causal, prefix=None, window=None,
        scale=None, biases=None, dropout_rate=RATE, key=KEY,
    )  # fmt: skip


def value_and_gradients(function, given):
    value, pull = jax.vjp(function, *given)
    return value, *pull(jnp.cos(jnp.arange(value.size)).reshape(value.shape))


@pytest.mark.slow
def test_values_and_gradients_are_those_of_the_formula():
    seen = visible(SEGMENTS, causal=False, window=None)[:, None]
    kept = keeps(random_bits(key_words(KEY), (2, 4, LENGTH, LENGTH)), RATE)

    def ours(*given):
        return attention_with_dropout(by_jax, RATE, *given, seen, kept)

    given = arrays()
    wanted = value_and_gradients(lambda *x: formula(False, *x), given)
    for found, expected in zip(value_and_gradients(ours, given), wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("causal", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_bits_are_those_of_the_whole_array_on_every_device(causal, monkeypatch):
    """A device with the second row and the last two heads, odd rows, and heads that share keys."""
    monkeypatch.setattr(fused_attention, "cudnn_with_sums", by_jax)
    queries, keys, values = arrays(kv_heads=2)
    found = cudnn_attention(
        queries[1:, :, 2:], keys[1:, :, 1:], values[1:, :, 1:],
        Rows(SEGMENTS[1:], SEGMENTS[1:], None), make_shared(None, KEY), First(1, 2, 4),
        causal=causal, dropout_rate=RATE,
    )  # fmt: skip
    wanted = formula(causal, queries, keys, values)[1:, :, 2:]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_cudnn_returns_the_logarithms():
    """The function that is no part of JAX's public interface takes the arguments that are passed."""
    module = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    parameters = module.dot_product_attention.__code__.co_varnames
    assert {"query", "key", "value", "mask", "scale", "return_residual"} <= set(parameters)
