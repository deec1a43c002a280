"""Negative sampling, for word vectors and other pairs (word2vec)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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
    """Weighted mean of -log s(c.x) - sum_k log s(-c.n_k), s the logistic function.

    Mikolov et al. 2013 (Distributed Representations), equation 4. Sums in float32, `axis_name` and
    `normalize` as in `masked_lm`. Raises ValueError where shapes do not fit.

    >>> import jax.numpy as jnp
    >>> loss = negative_sampling(jnp.zeros((2, 3)), jnp.zeros((2, 3)), jnp.zeros((2, 4, 3)))
    >>> round(float(loss / jnp.log(2)), 4)
    5.0
    """
    _check(centers, contexts, negatives)
    weights = jnp.ones(centers.shape[:-1]) if weights is None else weights
    if weights.shape != centers.shape[:-1]:
        raise ValueError(
            f"weights of shape {weights.shape} must be {centers.shape[:-1]}, one for each of "
            f"centers {centers.shape}"
        )
    used = [keep_used(array, weights) for array in (centers, contexts, negatives)]
    losses = negative_sampling_per_example(*used)
    total, weight = sum_weighted(losses, weights), weights.astype(losses.dtype).sum()
    return weighted_mean(total, weight, axis_name=axis_name, normalize=normalize)


def negative_sampling_per_example(
    centers: Float[Array, "*rows dim"],
    contexts: Float[Array, "*rows dim"],
    negatives: Float[Array, "*rows count dim"],
) -> Float[Array, "*rows"]:
    """The loss of every pair by itself; raises as `negative_sampling`.

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
    if centers.shape != contexts.shape:
        raise ValueError(f"contexts of shape {contexts.shape} must be as centers {centers.shape}")
    rows, dim = centers.shape[:-1], centers.shape[-1]
    if negatives.shape[:-2] != rows or negatives.shape[-1] != dim:
        raise ValueError(
            f"negatives of shape {negatives.shape} must be [{', '.join(map(str, rows))}, count, "
            f"{dim}] for centers {centers.shape}"
        )
