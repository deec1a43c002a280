"""Reconstruction of hidden image patches: masked autoencoders and plain autoencoders.

    loss = sum_i w_i mean_d (p_id - t_id)^2 / sum_i w_i

    i    patch (any number of leading axes)      p    predicted pixel values      w    weights
    d    pixel value of the patch                t    target pixel values

He et al. 2022, "Masked autoencoders are scalable vision learners", section 3.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxssl.losses.axes import AxisName
from jaxssl.losses.precision import softmax_type
from jaxssl.losses.squared_error import (
    check_target,
    mean_squared_error,
    mean_squared_error_per_example,
)

VARIANCE_FLOOR = 1e-6  # added to a patch's variance, so that an even patch is not divided by 0


def masked_reconstruction(
    predicted: Float[Array, "*patches dim"],
    target: Float[Array, "*patches dim"],
    weights: Float[Array, "*patches"] | Bool[Array, "*patches"],
    *,
    normalize_target: bool = False,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Computes the weighted mean squared error of the predicted patches (MAE, and autoencoders).

        loss = sum_i w_i mean_d (p_id - t_id)^2 / sum_i w_i

    This is `mean_squared_error` with a target that is not differentiated and may be standardised
    first. Where a weight is 0, both arrays may hold anything, NaN included. If all weights are 0,
    the loss and its gradient are 0.

    Args:
      predicted: Predicted pixel values of every patch, `[..., dim]`.
      target: True pixel values, `[..., dim]`. Not differentiated.
      weights: Weight of every patch, `[...]`, or a mask: 1 for patches that were hidden from the
        encoder, 0 for those that it saw. A plain autoencoder weights all patches by 1.
      normalize_target: Whether the values of each target patch are brought to mean 0 and variance 1
        first (unbiased variance plus 1e-6), as in the best variant of the paper.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the patches are sharded,
        as in `mean_squared_error`.
      normalize: Whether the sum is divided by the sum of the weights.

    Returns:
      Scalar loss, float32.

    Raises:
      ValueError: The shapes or types do not fit, or a weight is negative.

    References:
      He et al. 2022, "Masked autoencoders are scalable vision learners", section 3.

    >>> import jax.numpy as jnp
    >>> weights = jnp.array([1.0, 1.0, 0.0])
    >>> float(masked_reconstruction(jnp.zeros((3, 2)), jnp.full((3, 2), 2.0), weights))
    4.0
    """
    check_target(predicted, target)
    target = _prepared_target(target, normalize_target, softmax_type(predicted))
    return mean_squared_error(predicted, target, weights, axis_name=axis_name, normalize=normalize)


def masked_reconstruction_per_example(
    predicted: Float[Array, "*patches dim"],
    target: Float[Array, "*patches dim"],
    *,
    normalize_target: bool = False,
) -> Float[Array, "*patches"]:
    """Computes the mean squared error of every patch, unweighted.

    Args:
      predicted: Predicted pixel values of every patch, `[..., dim]`.
      target: True pixel values, `[..., dim]`. Not differentiated.
      normalize_target: Whether each target patch is brought to mean 0 and variance 1 first.

    Returns:
      Errors, `[...]`, float32.

    Raises:
      ValueError: The shapes differ.

    References:
      He et al. 2022, section 3.

    >>> import jax.numpy as jnp
    >>> masked_reconstruction_per_example(jnp.ones((2, 3)), jnp.zeros((2, 3))).tolist()
    [1.0, 1.0]
    """
    check_target(predicted, target)
    target = _prepared_target(target, normalize_target, softmax_type(predicted))
    return mean_squared_error_per_example(predicted, target)


def _prepared_target(target: Array, normalize_target: bool, kind: jnp.dtype) -> Array:
    """The target without gradient, in the type `kind`, standardised patch by patch where asked for."""
    target = jax.lax.stop_gradient(target).astype(kind)
    if not normalize_target:
        return target
    centred = target - target.mean(axis=-1, keepdims=True)
    freedom = max(target.shape[-1] - 1, 1)
    variance = jnp.square(centred).sum(axis=-1, keepdims=True) / freedom
    return centred * jax.lax.rsqrt(variance + VARIANCE_FLOOR)
