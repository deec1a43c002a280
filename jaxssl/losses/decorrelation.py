"""Losses on the statistics of a batch of features: Barlow Twins and VICReg.

    mean_d = sum_i w_i x_id / W,   W = sum_i w_i        over the global batch, on all devices

    i    row of the batch `[batch, dim]`                w_i   weight of the row
    d, e feature                                        x_id  feature d of row i

A row of weight 0 is left out altogether, as if it were not in the batch.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.arguments import check_factor, check_floats, checked_weights
from jaxssl.losses.axes import AxisName, sum_over
from jaxssl.losses.precision import softmax_type
from jaxssl.losses.weighting import keep_used

BARLOW_FLOOR = 1e-5  # added to a variance, as in batch normalisation
VICREG_FLOOR = 1e-4  # added to a variance before its square root, as in the paper


def barlow_twins(
    first: Float[Array, "batch dim"],
    second: Float[Array, "batch dim"],
    weights: Float[Array, " batch"] | None = None,
    *,
    off_diagonal_weight: float = 5e-3,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    """Computes the Barlow Twins loss: the cross-correlation of two views should be the identity matrix.

        loss = sum_d (1 - C_dd)^2 + off_diagonal_weight * sum_{d != e} C_de^2
        C_de = mean_i first_id * second_ie

    Each feature is first standardised to mean 0 and variance 1 over the global batch (biased
    variance plus 1e-5, as in batch normalisation).

    Args:
      first: Features of the first view, `[batch, dim]`.
      second: Features of the second view, in the same order, `[batch, dim]`.
      weights: Non-negative weight of every row in the means, `[batch]`. `None` weights all rows by
        1.
      off_diagonal_weight: Factor of the redundancy term; lambda in the paper, where it is 5e-3.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the batch is sharded. The
        statistics, the value and the gradient are then those of the global batch
        (`jaxssl.losses.axes` describes the convention).

    Returns:
      Scalar loss, float32. It is 0 if all weights are 0.

    Raises:
      ValueError: The shapes or types do not fit, or a number is negative.

    References:
      Zbontar et al. 2021, "Barlow Twins: Self-supervised learning via redundancy reduction",
      equations 1 and 2.

    >>> import jax.numpy as jnp
    >>> rows = jnp.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> round(float(barlow_twins(rows, -rows)), 3)
    8.0
    """
    weights = _weights(first, second, weights)
    check_factor(off_diagonal_weight, "off_diagonal_weight")
    total = sum_over(axis_name, weights.sum())
    left, right = (
        _standardize(_centre(x, weights, total, axis_name), weights, total, axis_name)
        for x in (first, second)
    )
    correlation = sum_over(axis_name, (left * weights[:, None]).T @ right) / _guard(total)
    diagonal = jnp.diagonal(correlation)
    loss = jnp.square(1 - diagonal).sum() + off_diagonal_weight * _off_diagonal(correlation)
    return jnp.where(total > 0, loss, 0.0)


def vicreg(
    first: Float[Array, "batch dim"],
    second: Float[Array, "batch dim"],
    weights: Float[Array, " batch"] | None = None,
    *,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    """Computes the VICReg loss: views agree, every feature varies, and no two features are correlated.

        loss = 25 s + 25 (v(first) + v(second)) / 2 + (c(first) + c(second))

        s    = mean_id (first_id - second_id)^2             invariance
        v(x) = mean_d max(0, 1 - sqrt(var_d + 1e-4))        variance
        c(x) = sum_{d != e} cov_de^2 / dim                  covariance

    The means are those of the authors' code: s is averaged over features too, and the variance term
    over the two views. Variances and covariances are unbiased over the global batch: divided by n -
    1, or with weights by W - sum_i w_i^2 / W. A batch of one row has variance 0.

    Args:
      first: Features of the first view, `[batch, dim]`.
      second: Features of the second view, in the same order, `[batch, dim]`.
      weights: Non-negative weight of every row, `[batch]`. `None` weights all rows by 1.
      invariance_weight: Factor of s.
      variance_weight: Factor of the mean of v over the two views.
      covariance_weight: Factor of the sum of c over the two views.
      axis_name: Mapped axis over which the batch is sharded; standard deviations and covariances are
        then taken over all devices, as in `barlow_twins`.

    Returns:
      Scalar loss, float32, which is 0 if all weights are 0.

    Raises:
      ValueError: The shapes or types do not fit, or a number is negative.

    References:
      Bardes et al. 2022, "VICReg: Variance-invariance-covariance regularization for self-supervised
      learning", equations 1 to 6.

    >>> import jax.numpy as jnp
    >>> rows = jnp.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> float(vicreg(rows, rows))
    0.0
    """
    weights = _weights(first, second, weights)
    check_factor(invariance_weight, "invariance_weight")
    check_factor(variance_weight, "variance_weight")
    check_factor(covariance_weight, "covariance_weight")
    total, squares = sum_over(axis_name, (weights.sum(), jnp.square(weights).sum()))
    freedom = _guard(total - squares / _guard(total))
    kind, dim = weights.dtype, first.shape[1]
    gap = keep_used(first, weights).astype(kind) - keep_used(second, weights).astype(kind)
    invariance = sum_over(axis_name, weights @ jnp.square(gap).mean(axis=1)) / _guard(total)
    variance = covariance = jnp.zeros((), kind)
    for x in (first, second):
        centred = _centre(x, weights, total, axis_name)
        product = sum_over(axis_name, (centred * weights[:, None]).T @ centred) / freedom
        spread = jnp.sqrt(jnp.diagonal(product) + VICREG_FLOOR)
        variance += jax.nn.relu(1 - spread).mean() / 2
        covariance += _off_diagonal(product) / dim
    loss = (
        invariance_weight * invariance + variance_weight * variance + covariance_weight * covariance
    )
    return jnp.where(total > 0, loss, 0.0)


def _weights(first: Array, second: Array, weights: Array | None) -> Array:
    """Checks the shapes; returns the weights in the type in which the loss is computed."""
    check_floats(first=first, second=second)
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(
            f"first {first.shape} and second {second.shape} must both be [batch, dim], of one shape"
        )
    weights = checked_weights(weights, first.shape[:1], f"each row of first {first.shape}")
    return weights.astype(softmax_type(first))


def _centre(rows: Array, weights: Array, total: Array, axis_name: AxisName) -> Array:
    """Subtracts the mean over the global batch from every feature; rows of weight 0 become zeros."""
    rows = keep_used(rows, weights).astype(weights.dtype)
    mean = sum_over(axis_name, weights @ rows) / _guard(total)
    return keep_used(rows - mean[None], weights)


def _standardize(centred: Array, weights: Array, total: Array, axis_name: AxisName) -> Array:
    """Divides centred features by their standard deviation over the global batch."""
    variance = sum_over(axis_name, weights @ jnp.square(centred)) / _guard(total)
    return centred * jax.lax.rsqrt(variance + BARLOW_FLOOR)[None]


def _off_diagonal(matrix: Array) -> Array:
    """The sum of the squares of a matrix without its diagonal."""
    return jnp.square(matrix - jnp.diag(jnp.diagonal(matrix))).sum()


def _guard(number: Array) -> Array:
    """The number, or 1 where it is 0, for a safe division."""
    return jnp.where(number > 0, number, 1.0)
