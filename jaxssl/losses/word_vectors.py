"""Negative sampling: tell real pairs from random ones, for word vectors (word2vec) and other embeddings.

loss_i = -log s(c_i . x_i) - sum_k log s(-c_i . n_ik)          s(z) = 1 / (1 + exp(-z))

c    centers `[..., dim]`      x    contexts `[..., dim]`      n    negatives `[..., count, dim]`
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.arguments import check_floats, checked_weights
from jaxssl.losses.axes import AxisName
from jaxssl.losses.precision import softmax_type
from jaxssl.losses.weighting import keep_used, sum_weighted, weighted_mean


def negative_sampling(
    centers: Float[Array, "*rows dim"],
    contexts: Float[Array, "*rows dim"],
    negatives: Float[Array, "*rows count dim"],
    weights: Float[Array, "*rows"] | None = None,
    *,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Computes the weighted mean of the negative-sampling loss of word2vec.

        loss = sum_i w_i (-log s(c_i . x_i) - sum_k log s(-c_i . n_ik)) / sum_i w_i

    with s the logistic function. Products are summed in float32.

    Args:
      centers: Vectors of the centre words, `[..., dim]`.
      contexts: Vectors of words that occur near them, `[..., dim]`.
      negatives: Vectors of words drawn at random, `[..., count, dim]`.
      weights: Non-negative weight of every pair, `[...]`. `None` weights all pairs by 1.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the pairs are sharded.
        Value and gradient are then those of the global batch (`jaxssl.losses.axes` describes the
        convention).
      normalize: Whether the sum is divided by the sum of the weights. `False` returns the weighted
        sum itself.

    Returns:
      Scalar loss in nats, float32. It is 0 if all weights are 0.

    Raises:
      ValueError: The shapes or types do not fit, or a weight is negative.

    References:
      Mikolov et al. 2013, "Distributed representations of words and phrases and their
      compositionality", equation 4.

    >>> import jax.numpy as jnp
    >>> loss = negative_sampling(jnp.zeros((2, 3)), jnp.zeros((2, 3)), jnp.zeros((2, 4, 3)))
    >>> round(float(loss / jnp.log(2)), 4)
    5.0
    """
    _check(centers, contexts, negatives)
    weights = checked_weights(weights, centers.shape[:-1], f"each of centers {centers.shape}")
    used = [keep_used(array, weights) for array in (centers, contexts, negatives)]
    losses = negative_sampling_per_example(*used)
    total, weight = sum_weighted(losses, weights), weights.astype(losses.dtype).sum()
    return weighted_mean(total, weight, axis_name=axis_name, normalize=normalize)


def negative_sampling_per_example(
    centers: Float[Array, "*rows dim"],
    contexts: Float[Array, "*rows dim"],
    negatives: Float[Array, "*rows count dim"],
) -> Float[Array, "*rows"]:
    """Computes the negative-sampling loss of every pair, unweighted.

    Args:
      centers: Vectors of the centre words, `[..., dim]`.
      contexts: Vectors of words that occur near them, `[..., dim]`.
      negatives: Vectors of words drawn at random, `[..., count, dim]`.

    Returns:
      Losses in nats, `[...]`, float32.

    Raises:
      ValueError: The shapes do not fit.

    References:
      Mikolov et al. 2013, equation 4.

    >>> import jax.numpy as jnp
    >>> one = jnp.ones((1, 2))
    >>> [round(x, 4) for x in negative_sampling_per_example(one, one, -one[:, None]).tolist()]
    [0.2539]
    """
    _check(centers, contexts, negatives)
    kind = softmax_type(centers)
    positive = jnp.einsum("...d,...d->...", centers, contexts, preferred_element_type=kind)
    negative = jnp.einsum("...d,...kd->...k", centers, negatives, preferred_element_type=kind)
    return jax.nn.softplus(-positive) + jax.nn.softplus(negative).sum(axis=-1)


def _check(centers: Array, contexts: Array, negatives: Array) -> None:
    """Raises ValueError unless the shapes fit together."""
    check_floats(centers=centers, contexts=contexts, negatives=negatives)
    if centers.ndim == 0:
        raise ValueError("centers is a single number and must be [..., dim]")
    if centers.shape != contexts.shape:
        raise ValueError(
            f"contexts of shape {contexts.shape} must have the shape of centers, {centers.shape}"
        )
    rows, dim = centers.shape[:-1], centers.shape[-1]
    if negatives.shape[:-2] != rows or negatives.shape[-1] != dim:
        raise ValueError(
            f"negatives of shape {negatives.shape} must be [{', '.join(map(str, rows))}, count, "
            f"{dim}] for centers {centers.shape}"
        )
