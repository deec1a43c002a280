"""Vectors scaled to length one, without overflow, underflow or division by zero."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.precision import softmax_type


def to_unit(vectors: Float[Array, "*rows dim"]) -> Float[Array, "*rows dim"]:
    """Scales every vector to length one: v / |v|.

    Each vector is divided by its largest component first. That does not change the result, but its
    squares then neither overflow nor underflow (the largest float16 is 65504).

    Args:
      vectors: Vectors in any floating-point type, `[..., dim]`.

    Returns:
      Unit vectors, `[..., dim]`, float32 (float64 for float64 vectors). A vector of zeros stays
      zero, and its gradient is zero.
    """
    vectors = vectors.astype(softmax_type(vectors))
    largest = jax.lax.stop_gradient(jnp.abs(vectors).max(axis=-1, keepdims=True, initial=0.0))
    is_zero = largest == 0
    scaled = vectors / jnp.where(is_zero, 1.0, largest)
    squares = jnp.square(scaled).sum(axis=-1, keepdims=True)
    return jnp.where(is_zero, 0.0, scaled * jax.lax.rsqrt(jnp.where(is_zero, 1.0, squares)))
