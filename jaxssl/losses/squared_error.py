"""Mean squared error of vectors.

loss_i = mean_d (p_id - t_id)^2

i    example (any number of leading axes)      p    predicted      w    weights
d    component of the vector                   t    target
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxssl.losses.arguments import check_floats, check_numbers, checked_weights
from jaxssl.losses.axes import AxisName
from jaxssl.losses.precision import softmax_type
from jaxssl.losses.weighting import keep_used, sum_weighted, weighted_mean


def mean_squared_error(
    predicted: Float[Array, "*rows dim"],
    target: Float[Array, "*rows dim"],
    weights: Float[Array, "*rows"] | Bool[Array, "*rows"] | None = None,
    *,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Computes the weighted mean of the squared error of every vector.

        loss = sum_i w_i mean_d (p_id - t_id)^2 / sum_i w_i

    Both arguments are differentiated; wrap a target that is not to be trained in
    `jax.lax.stop_gradient`. Where a weight is 0, both may hold anything, NaN included. If all
    weights are 0, the loss and its gradient are 0.

    Args:
      predicted: Predicted vectors, `[..., dim]`. Single numbers are vectors of `dim` 1.
      target: Vectors to predict, `[..., dim]`.
      weights: Non-negative weight of every vector, `[...]`, or a mask. `None` weights all vectors
        by 1.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the vectors are sharded.
        Errors and weights are then summed over all its devices, so value and gradient are those of
        the global batch (`jaxssl.losses.axes` describes the convention).
      normalize: Whether the sum is divided by the sum of the weights. `False` returns the weighted
        sum itself, for weights that add up to one over the global batch already.

    Returns:
      Scalar loss, float32 (float64 for float64 predictions).

    Raises:
      ValueError: The shapes or types do not fit, or a weight is negative.

    >>> import jax.numpy as jnp
    >>> predicted, target = jnp.zeros((2, 2)), jnp.array([[1.0, 3.0], [2.0, 2.0]])
    >>> float(mean_squared_error(predicted, target, jnp.array([1.0, 3.0])))  # (1 * 5 + 3 * 4) / 4
    4.25
    """
    check_target(predicted, target)
    of = f"each vector of predicted {predicted.shape}"
    weights = checked_weights(weights, predicted.shape[:-1], of)
    losses = mean_squared_error_per_example(
        keep_used(predicted, weights), keep_used(target, weights)
    )
    total, weight = sum_weighted(losses, weights), weights.astype(losses.dtype).sum()
    return weighted_mean(total, weight, axis_name=axis_name, normalize=normalize)


def mean_squared_error_per_example(
    predicted: Float[Array, "*rows dim"], target: Float[Array, "*rows dim"]
) -> Float[Array, "*rows"]:
    """Computes the squared error of every vector, averaged over its components, unweighted.

    Args:
      predicted: Predicted vectors, `[..., dim]`.
      target: Vectors to predict, `[..., dim]`.

    Returns:
      Errors, `[...]`, float32 (float64 for float64 predictions).

    Raises:
      ValueError: The shapes differ.

    >>> import jax.numpy as jnp
    >>> mean_squared_error_per_example(jnp.ones((2, 3)), jnp.zeros((2, 3))).tolist()
    [1.0, 1.0]
    """
    check_target(predicted, target)
    kind = softmax_type(predicted)
    return jnp.square(predicted.astype(kind) - target.astype(kind)).mean(axis=-1)


def check_target(
    predicted: Float[Array, "*rows dim"], target: Float[Array, "*target_shape"]
) -> None:
    """Raises ValueError unless `target` has the shape of `predicted`, `[..., dim]`."""
    check_floats(predicted=predicted)
    check_numbers(target=target)
    if predicted.ndim == 0:
        raise ValueError(
            "predicted is a single number and must be [..., dim]: pass predicted[None]"
        )
    if predicted.shape != target.shape:
        raise ValueError(
            f"target of shape {target.shape} must have the shape of predicted, {predicted.shape}"
        )
