"""Reconstruction of what was hidden: masked autoencoders, and autoencoders as such."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.axes import AxisName
from jaxssl.losses.precision import softmax_type
from jaxssl.losses.weighting import keep_used, sum_weighted, weighted_mean

VARIANCE_FLOOR = 1e-6


def masked_reconstruction(
    predicted: Float[Array, "*patches dim"],
    target: Float[Array, "*patches dim"],
    weights: Float[Array, "*patches"],
    *,
    normalize_target: bool = False,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """sum_i w_i mean_d (p_id - t_id)^2 / sum_i w_i: weights 1 on hidden patches, 0 on those seen.

    He et al. 2022 (Masked Autoencoders), section 3. `normalize_target` first gives each patch of the
    target mean 0 and variance 1 (over d, unbiased, plus 1e-6), as their best variant does. The target
    is not differentiated. `axis_name` and `normalize` as in `masked_lm`. Raises ValueError where shapes
    do not fit.

    >>> import jax.numpy as jnp
    >>> weights = jnp.array([1.0, 1.0, 0.0])
    >>> float(masked_reconstruction(jnp.zeros((3, 2)), jnp.full((3, 2), 2.0), weights))
    4.0
    """
    _check_target(predicted, target)
    if weights.shape != predicted.shape[:-1]:
        raise ValueError(
            f"weights of shape {weights.shape} must be {predicted.shape[:-1]}, one for each patch of "
            f"predicted {predicted.shape}"
        )
    losses = masked_reconstruction_per_example(
        keep_used(predicted, weights),
        keep_used(target, weights),
        normalize_target=normalize_target,
    )
    total, weight = sum_weighted(losses, weights), weights.astype(losses.dtype).sum()
    return weighted_mean(total, weight, axis_name=axis_name, normalize=normalize)


def masked_reconstruction_per_example(
    predicted: Float[Array, "*patches dim"],
    target: Float[Array, "*patches dim"],
    *,
    normalize_target: bool = False,
) -> Float[Array, "*patches"]:
    """The mean squared error of every patch by itself; raises as `masked_reconstruction`.

    >>> import jax.numpy as jnp
    >>> masked_reconstruction_per_example(jnp.ones((2, 3)), jnp.zeros((2, 3))).tolist()
    [1.0, 1.0]
    """
    _check_target(predicted, target)
    kind = softmax_type(predicted)
    target = jax.lax.stop_gradient(target).astype(kind)
    if normalize_target:
        centred = target - target.mean(axis=-1, keepdims=True)
        freedom = max(target.shape[-1] - 1, 1)
        variance = jnp.square(centred).sum(axis=-1, keepdims=True) / freedom
        target = centred * jax.lax.rsqrt(variance + VARIANCE_FLOOR)
    return jnp.square(predicted.astype(kind) - target).mean(axis=-1)


def _check_target(predicted: Array, target: Array) -> None:
    if predicted.shape != target.shape:
        raise ValueError(f"target of shape {target.shape} must be as predicted {predicted.shape}")
