"""Metrics of the geometry of embeddings, which distinguish a healthy contrast of two views from a collapse.

    z_i, z_i'  unit vectors of the two views of row i,   n rows,   C the covariance of z, `[dim, dim]`

    accuracy         fraction of the rows whose z is nearest to their own z'
    alignment        mean |z - z'|^2: near 0 where the difference between the views does not matter
    uniformity       log mean exp(-2 |z_i - z_j|^2) over pairs of rows: -4 where embeddings are spread evenly
                     over the sphere, 0 where all are the same
    spread           mean over the dimensions of the standard deviation, times sqrt(dim): 1 where embeddings
                     are spread evenly over the sphere, 0 where all are the same
    effective_rank   (tr C)^2 / tr C^2: the number of dimensions with variance if all those had the same;
                     1 where all embeddings are on a line

References:
  Wang & Isola 2020, "Understanding contrastive representation learning through alignment and uniformity on
  the hypersphere", section 4; Chen & He 2021, "SimSiam", figure 2 (spread). The rank is exp of the collision
  entropy of C's eigenvalues (Roy & Vetterli 2007 take Shannon's, which needs the eigenvalues themselves).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxssl.losses.unit_vectors import to_unit
from jaxssl.objectives.batches.batch import Ratio

MEASURED_ROWS = 1024  # largest number of rows of a batch that are measured, in all pairs


def geometry(
    first: Float[Array, "rows width"],
    second: Float[Array, "rows width"],
    real: Bool[Array, " rows"] | None = None,
) -> dict[str, Ratio]:
    """Computes the metrics above, without gradient, of at most `MEASURED_ROWS` rows that are spread evenly.

    Args:
      first: Embeddings of the first views, `[rows, width]`. They are normalised inside.
      second: Embeddings of the second views, in the same order, `[rows, width]`.
      real: Whether a row counts, `[rows]`; None for all.

    Returns:
      Metrics by name.
    """
    real = jnp.ones(first.shape[0], bool) if real is None else real
    first, second, real = (_some(rows) for rows in (first, second, real))
    first, second = (jax.lax.stop_gradient(to_unit(rows)) for rows in (first, second))
    count = real.sum().astype(jnp.float32)
    apart = jnp.square(first - second).sum(axis=1)
    cosines = jnp.where(real[None], first @ second.T, -2.0)
    right = real & (jnp.argmax(cosines, axis=1) == jnp.arange(len(real)))
    is_pair = real[:, None] & real[None] & ~jnp.eye(len(real), dtype=bool)
    near = jnp.where(is_pair, jnp.exp(4 * (first @ first.T) - 4), 0.0)  # |a - b|^2 = 2 - 2 cos
    pairs = is_pair.sum().astype(jnp.float32)
    has_pairs = (pairs > 0).astype(jnp.float32)
    mean = jnp.where(pairs > 0, near.sum() / jnp.maximum(pairs, 1), 1.0)
    spread, rank = _extent(first, real, jnp.maximum(count, 1))
    return {
        "accuracy": Ratio(right.sum().astype(jnp.float32), count),
        "alignment": Ratio(jnp.where(real, apart, 0.0).sum(), count),
        "uniformity": Ratio(jnp.log(mean), has_pairs),
        "spread": Ratio(spread * has_pairs, has_pairs),
        "effective_rank": Ratio(rank * has_pairs, has_pairs),
    }


def _some(rows: Array) -> Array:
    """Takes at most MEASURED_ROWS rows, spread evenly: each device of a sharded batch keeps its own."""
    step = -(-rows.shape[0] // MEASURED_ROWS)
    return (
        rows
        if step == 1
        else rows[: rows.shape[0] // step * step].reshape(-1, step, *rows.shape[1:])[:, 0]
    )


def _extent(
    rows: Float[Array, "rows width"], real: Bool[Array, " rows"], count: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Computes spread and effective rank."""
    kept = jnp.where(real[:, None], rows, 0.0)
    centred = jnp.where(real[:, None], kept - kept.sum(axis=0, keepdims=True) / count, 0.0)
    variances = jnp.square(centred).sum(axis=0) / count
    spread = jnp.sqrt(variances).mean() * rows.shape[1] ** 0.5
    # tr C^2 is the same for the product over rows as for that over dimensions; the smaller one is taken.
    product = centred @ centred.T if len(rows) < rows.shape[1] else centred.T @ centred
    squares = jnp.square(product / count).sum()
    rank = jnp.square(variances.sum()) / jnp.maximum(squares, 1e-30)
    return spread, rank
