"""Batch norm against its formula, differentiated step by step."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.models.layers.batch_norm import moments_of, normalize_batch
from jaxssl.models.layers.convolution import BatchNorm


def step_by_step(x, scale, bias, epsilon):
    mean = x.mean(axis=(0, 1))
    variance = jnp.square(x - mean[None, None]).mean(axis=(0, 1))
    normed = (x - mean[None, None]) / jnp.sqrt(variance + epsilon)[None, None]
    return normed * scale[None, None] + bias[None, None], mean, variance


def test_values_and_gradients_are_those_of_the_formula(key):
    x, *of_y = 1 + 2 * jax.random.normal(key, (3, 4, 5, 6))
    scale, bias, *of_moments = jax.random.normal(jax.random.key(1), (4, 6))
    found, back = jax.vjp(lambda *inputs: normalize_batch(*inputs, 1e-2), x, scale, bias)
    expected, back_there = jax.vjp(lambda *inputs: step_by_step(*inputs, 1e-2), x, scale, bias)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    # The gradients of all three results: one after another, and together.
    zeros = jax.tree.map(jnp.zeros_like, found)
    for number, cotangent in enumerate((of_y[0], *of_moments)):
        ahead = tuple(cotangent if i == number else zero for i, zero in enumerate(zeros))
        for one, other in zip(back(ahead), back_there(ahead), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5)


def test_half_precision_has_the_moments_of_what_it_holds():
    x = (100 + jax.random.normal(jax.random.key(0), (64, 4, 3))).astype(jnp.bfloat16)
    mean, variance = moments_of(x)
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 1)), rtol=1e-6)
    np.testing.assert_allclose(variance, exact.var(axis=(0, 1)), rtol=5e-3)
    # A channel of one value has no variance, which rounding must not make negative.
    assert (moments_of(jnp.full((64, 7, 2), 3.3, jnp.bfloat16))[1] >= 0).all()


def test_a_network_in_half_precision_normalises_as_in_float32():
    x = (3 + jax.random.normal(jax.random.key(0), (8, 4, 4, 6))).astype(jnp.bfloat16)
    for norm in (BatchNorm(6, scale=0.5), BatchNorm(6, affine=False)):
        (half, moments), (whole, expected) = norm(x), norm(x.astype(jnp.float32))
        assert half.dtype == jnp.bfloat16
        np.testing.assert_allclose(half.astype(jnp.float32), whole, atol=0.02)
        for name, moment in moments.items():
            np.testing.assert_allclose(moment, expected[name], rtol=1e-4)
