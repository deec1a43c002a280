"""Losses on the statistics of a batch's features: Barlow Twins and VICReg.

    batch   rows i, weights w_i (1 where none are given)        dim   features d, e
    mean_d  = sum_i w_i x_id / W,  W = sum_i w_i                over the global batch, all devices

A row of weight 0 is as if it were not there.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.axes import AxisName, sum_over
from jaxssl.losses.precision import softmax_type
from jaxssl.losses.weighting import keep_used

BARLOW_FLOOR = 1e-5  # added to a variance, as batch normalisation does
VICREG_FLOOR = 1e-4


def barlow_twins(
    first: Float[Array, "batch dim"],
    second: Float[Array, "batch dim"],
    weights: Float[Array, " batch"] | None = None,
    *,
    off_diagonal_weight: float = 5e-3,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    """sum_d (1 - C_dd)^2 + off_diagonal_weight * sum_{d != e} C_de^2.

    C_de = mean_i of first_id * second_ie, each feature brought to mean 0 and variance 1 over the
    global batch (biased, plus 1e-5). Zbontar et al. 2021, equations 1 and 2. A batch without weight
    gives 0. Raises ValueError where shapes do not fit.

    >>> import jax.numpy as jnp
    >>> rows = jnp.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> round(float(barlow_twins(rows, -rows)), 3)
    8.0
    """
    weights = _weights(first, second, weights)
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
    """25 s + 25 (v(first) + v(second)) / 2 + (c(first) + c(second)).

        s    = mean_id (first_id - second_id)^2
        v(x) = mean_d max(0, 1 - sqrt(var_d + 1e-4))
        c(x) = sum_{d != e} cov_de^2 / dim

    Bardes et al. 2022, equations 1 to 6, with the means of the authors' code (s over features too, v
    halved). Variances and covariances are unbiased over the global batch (divided by n - 1; with
    weights by W - sum w^2 / W). Batches of one row have variance 0; one without weight gives 0. Raises
    ValueError where shapes do not fit.

    >>> import jax.numpy as jnp
    >>> rows = jnp.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> float(vicreg(rows, rows))
    0.0
    """
    weights = _weights(first, second, weights)
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
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(
            f"first {first.shape} and second {second.shape} must both be [batch, dim], of one shape"
        )
    weights = jnp.ones(first.shape[0]) if weights is None else weights
    if weights.shape != first.shape[:1]:
        raise ValueError(
            f"weights of shape {weights.shape} must be [{first.shape[0]}], one for each row of "
            f"first {first.shape}"
        )
    return weights.astype(softmax_type(first))


def _centre(rows: Array, weights: Array, total: Array, axis_name: AxisName) -> Array:
    """Rows less their mean over the global batch; zero where the weight is 0."""
    rows = keep_used(rows, weights).astype(weights.dtype)
    mean = sum_over(axis_name, weights @ rows) / _guard(total)
    return keep_used(rows - mean[None], weights)


def _standardize(centred: Array, weights: Array, total: Array, axis_name: AxisName) -> Array:
    variance = sum_over(axis_name, weights @ jnp.square(centred)) / _guard(total)
    return centred * jax.lax.rsqrt(variance + BARLOW_FLOOR)[None]


def _off_diagonal(matrix: Array) -> Array:
    return jnp.square(matrix - jnp.diag(jnp.diagonal(matrix))).sum()


def _guard(number: Array) -> Array:
    return jnp.where(number > 0, number, 1.0)
