"""Weighted sums and means of losses, exact over any number of devices."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.axes import AxisName, sum_over


def weighted_mean(
    total: Float[Array, ""],
    weight: Float[Array, ""],
    *,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """total / weight, each summed over the devices first; 0 where the weight is 0."""
    total, weight = sum_over(axis_name, (total, weight))
    if not normalize:
        return total
    return jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1.0), 0.0)


def sum_weighted(values: Float[Array, "*rows"], weights: Float[Array, "*rows"]) -> Float[Array, ""]:
    """sum_i w_i x_i, where an x of weight 0 may be anything, NaN too.

    The gradient by x is clean as well only if x was made from what `keep_used` left.
    """
    return jnp.where(weights > 0, values * weights.astype(values.dtype), 0).sum()


def keep_used(array: Array, weights: Float[Array, "*rows"]) -> Array:
    """Zeros in place of what has weight 0, so that no NaN of it reaches a gradient (0 x NaN)."""
    used = weights > 0
    return jnp.where(used.reshape(used.shape + (1,) * (array.ndim - used.ndim)), array, 0)
