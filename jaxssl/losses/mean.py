"""Weighted means that are exact over any number of devices."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def weighted_mean(
    total: Float[Array, ""],
    weight: Float[Array, ""],
    *,
    axis_name: str | None = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """total / weight, each summed over the devices first; 0 where the weight is 0."""
    if axis_name is not None:
        total, weight = jax.lax.psum((total, weight), axis_name)
    if not normalize:
        return total
    return jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1.0), 0.0)
