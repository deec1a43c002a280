"""Batch norm of maps in half precision, in as few passes as its two sums allow, in either direction.

    y   = a x + b                 a = scale / sqrt(variance + epsilon),   b = bias - a mean
    dx  = a (dy - mean(dy) - n mean(n dy))     n = (x - mean) / sqrt(variance + epsilon)

Maps are large, and reading them is what a norm costs: the forward pass reads them for the moments and for y,
the backward pass for its two sums and for dx, and everything else is computed of vectors of channels. What
follows from the formulas step by step reads them twice as often (19.0 instead of 14.5 M cycles for the first
block of a ResNet-50 and 128 images on v5e). In float32 it would not be exact enough.

References: Ioffe & Szegedy 2015, "Batch normalization", section 3.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.models.layers.dense import broadcast_last

Maps = Float[Array, "batch ... channels"]
Channels = Float[Array, " channels"]
Normed = tuple[Maps, Channels, Channels]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalize_batch(x: Maps, scale: Channels, bias: Channels, epsilon: float) -> Normed:
    """Brings each channel to mean 0 and variance 1 over all other axes, then applies scale and bias.

    Args:
      x: Maps or features, `[batch, ..., channels]`.
      scale: Factor of every channel, `[channels]`.
      bias: What is added to every channel, `[channels]`.
      epsilon: Number added to the variance.

    Returns:
      The result in the type of `x`, and the mean and the variance of every channel, float32 `[channels]`.
    """
    return _forward(x, scale, bias, epsilon)[0]


def moments_of(x: Maps) -> tuple[Channels, Channels]:
    """Computes the mean and the variance of every channel, float32 `[channels]`, in one pass.

    The variance is mean(x^2) - mean(x)^2. Where a mean of m deviations makes that inexact, by m^2 / 2^24 of
    the variance, the rounding of a bfloat16 x itself, m / 2^9 deviations, is worse.

    Args:
      x: Maps or features, `[batch, ..., channels]`.
    """
    exact, axes = x.astype(jnp.float32), tuple(range(x.ndim - 1))
    mean = exact.mean(axis=axes)
    return mean, jnp.maximum(jnp.square(exact).mean(axis=axes) - jnp.square(mean), 0.0)


def _forward(
    x: Maps, scale: Channels, bias: Channels, epsilon: float
) -> tuple[Normed, tuple[Maps, Channels, Channels, Channels]]:
    mean, variance = moments_of(x)
    exact, factor = x.astype(jnp.float32), scale * jax.lax.rsqrt(variance + epsilon)
    offset = bias - mean * factor
    y = exact * broadcast_last(factor, exact) + broadcast_last(offset, exact)
    return (y.astype(x.dtype), mean, variance), (x, scale, mean, variance)


def _backward(
    epsilon: float, kept: tuple[Maps, Channels, Channels, Channels], cotangents: Normed
) -> tuple[Maps, Channels, Channels]:
    x, scale, mean, variance = kept
    to_y, to_mean, to_variance = cotangents
    exact, gradient = x.astype(jnp.float32), to_y.astype(jnp.float32)
    axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    share = jax.lax.rsqrt(variance + epsilon)
    to_bias = gradient.sum(axis=axes)
    centred = exact - broadcast_last(mean, exact)
    to_scale = share * (gradient * centred).sum(axis=axes)
    # dx is linear in dy, in x, and in 1, with these factors; the moments' own gradients go into them.
    of_y = scale * share
    of_x = (2 * to_variance - of_y * share * to_scale) / count
    of_one = (to_mean - of_y * to_bias) / count
    to_x = (
        gradient * broadcast_last(of_y, exact)
        + centred * broadcast_last(of_x, exact)
        + broadcast_last(of_one, exact)
    )
    return to_x.astype(x.dtype), to_scale, to_bias


normalize_batch.defvjp(_forward, _backward)
