"""Weighted sums and means of losses, exact over any number of devices, and safe where a weight is 0.

    mean = sum_i w_i x_i / sum_i w_i

Weights are any non-negative numbers. An example of weight 0 must not influence the loss or its
gradient, even if it holds NaN or infinity; a multiplication by 0 does not achieve that (0 * NaN =
NaN). Losses therefore replace such examples by zeros before they compute anything (`keep_used`),
and skip them in the sum (`sum_weighted`).
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxssl.losses.axes import AxisName, sum_over


def weighted_mean(
    total: Float[Array, ""],
    weight: Float[Array, ""],
    *,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Divides a weighted sum by the sum of its weights, both summed over the devices first.

    Args:
      total: Weighted sum of losses on this device, a scalar.
      weight: Sum of the weights on this device, a scalar.
      axis_name: Mapped axis over whose devices both are summed. `None` for a single device.
      normalize: Whether to divide. `False` returns the sum of `total` over the devices.

    Returns:
      Scalar mean over the global batch, equal on all devices. It is 0, with gradient 0, if the
      weight is 0.
    """
    total, weight = sum_over(axis_name, (total, weight))
    if not normalize:
        return total
    return jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1.0), 0.0)


def sum_weighted(
    values: Float[Array, "*rows"], weights: Float[Array, "*rows"] | Bool[Array, "*rows"]
) -> Float[Array, ""]:
    """Returns sum_i w_i x_i, in which a value of weight 0 counts 0 even if it is NaN or infinite.

    The gradient with respect to such a value is 0 too, but a NaN inside the computation of the
    value can still reach the gradient of its inputs. So the inputs have to be cleaned by
    `keep_used` beforehand.

    Args:
      values: Losses, `[...]`.
      weights: Non-negative weights or a mask, `[...]`.

    Returns:
      Scalar weighted sum, in the type of `values`.
    """
    return jnp.where(weights > 0, values * weights.astype(values.dtype), 0).sum()


def keep_used(array: Array, weights: Float[Array, "*rows"] | Bool[Array, "*rows"]) -> Array:
    """Replaces the rows of weight 0 by zeros, so that no NaN in them reaches a loss or a gradient.

    Args:
      array: Array whose leading axes are those of `weights`, `[..., anything]`.
      weights: Non-negative weights or a mask, `[...]`.

    Returns:
      Array of the same shape and type.
    """
    used = weights > 0
    return jnp.where(used.reshape(used.shape + (1,) * (array.ndim - used.ndim)), array, 0)
