"""Vectors brought to length one, safely."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.precision import softmax_type


def to_unit(vectors: Float[Array, "*rows dim"]) -> Float[Array, "*rows dim"]:
    """v / |v| in float32; a vector of zeros stays zero, and its gradient is zero.

    Divided by its largest number first, which changes nothing but that squares neither over- nor
    underflow (float16 goes to 65504).
    """
    vectors = vectors.astype(softmax_type(vectors))
    largest = jax.lax.stop_gradient(jnp.abs(vectors).max(axis=-1, keepdims=True, initial=0.0))
    is_zero = largest == 0
    scaled = vectors / jnp.where(is_zero, 1.0, largest)
    squares = jnp.square(scaled).sum(axis=-1, keepdims=True)
    return jnp.where(is_zero, 0.0, scaled * jax.lax.rsqrt(jnp.where(is_zero, 1.0, squares)))
