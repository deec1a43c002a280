"""Attention with dropout on its weights, from fused kernels that know no dropout.

With m the weights that dropout keeps, P the softmax over all visible keys, P^m the one over the kept keys
alone, and L, L^m the logarithms of their sums,

    softmax with dropout = m P V / (1 - rate) = share * P^m V        share = exp(L^m - L) / (1 - rate)

so that a kernel which takes a mask computes it in two passes, one of them for L alone. With g the gradient of
the result o, the gradient of the scores is that of P^m V for the cotangent share * g, and what `share`
depends on:

    d scores = P^m (share * g V^T - D) + D (P^m - P)                 D = g . o, a number for every query

The last term is a difference of two more passes, whose values are the keys (for the gradient of the queries)
and whose cotangents are D * queries (for that of the keys). The scores are never in memory; the mask is, at
two bytes a pair.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Queries = Float[Array, "batch length heads head_dim"]
Keys = Float[Array, "batch key_length heads head_dim"]
# Returns the mixed values and the logarithms of the sums, float32 [batch, length, heads], for a mask
Attend = Callable[[Queries, Keys, Keys, Bool[Array, "batch heads length key_length"]], Any]


def cudnn_with_sums(queries: Queries, keys: Keys, values: Keys, mask: Array) -> tuple[Array, Array]:
    """Computes attention by cuDNN, and the logarithms of the sums of its weights.

    `jax.nn.dot_product_attention` rounds the logarithms to bfloat16, which is a percent of their difference;
    so this calls what that calls.

    Args:
      queries: Queries, `[batch, length, heads, head_dim]`.
      keys: Keys, `[batch, key_length, heads, head_dim]`.
      values: Values, of the shape of the keys.
      mask: Pairs that count, bool `[batch, heads or 1, length, key_length]`.

    Returns:
      The mixed values, `[batch, length, heads, head_dim]`, and the logarithms, float32
      `[batch, length, heads]`.
    """
    from jax._src.cudnn.fused_attention_stablehlo import dot_product_attention

    scale = queries.shape[-1] ** -0.5
    mixed, sums = dot_product_attention(
        queries, keys, values, mask=mask, scale=scale, return_residual=True
    )
    return mixed, sums.transpose(0, 2, 1)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def attention_with_dropout(
    attend: Attend,
    rate: float,
    queries: Queries,
    keys: Keys,
    values: Keys,
    seen: Bool[Array, "batch one length key_length"],
    kept: Bool[Array, "batch heads length key_length"],
) -> Queries:
    """Computes attention with dropout on its weights.

    Args:
      attend: Attention with a mask, that also returns the logarithms of the sums; its gradient with respect
        to the mixed values is used.
      rate: Dropout rate.
      queries: Queries, `[batch, length, heads, head_dim]`.
      keys: Keys, `[batch, key_length, heads, head_dim]`.
      values: Values, of the shape of the keys.
      seen: Pairs that are visible, bool `[batch, 1, length, key_length]`. Every query sees a key.
      kept: Weights that dropout keeps, bool `[batch, heads, length, key_length]`.

    Returns:
      The mixed values, `[batch, length, heads, head_dim]`.
    """
    return _forward(attend, rate, queries, keys, values, seen, kept)[0]


def _forward(
    attend: Attend,
    rate: float,
    queries: Array,
    keys: Array,
    values: Array,
    seen: Array,
    kept: Array,
) -> tuple[Array, Any]:
    counted = seen & kept

    def among(queries: Array, keys: Array, values: Array) -> Any:
        return attend(queries, keys, values, counted)

    (among_kept, kept_sums), pull = jax.vjp(among, queries, keys, values)
    _, sums = attend(queries, keys, values, seen)
    share = (jnp.exp(kept_sums - sums) / (1 - rate))[..., None]
    mixed = (among_kept.astype(jnp.float32) * share).astype(values.dtype)
    return mixed, (pull, queries, keys, seen, counted, share, mixed)


def _backward(attend: Attend, _rate: float, residuals: Any, cotangent: Array) -> tuple[Any, ...]:
    pull, queries, keys, seen, counted, share, mixed = residuals
    exact = cotangent.astype(jnp.float32)
    zeros = jnp.zeros(share.shape[:-1], jnp.float32)
    to_queries, to_keys, to_values = pull(((exact * share).astype(cotangent.dtype), zeros))
    inner = (exact * mixed.astype(jnp.float32)).sum(axis=-1, keepdims=True)
    scale = queries.shape[-1] ** -0.5
    asked = (queries.astype(jnp.float32) * inner * scale).astype(queries.dtype)

    def keys_for(mask: Array) -> tuple[Array, Array]:
        """The keys mixed for every query, and `asked` mixed for every key, in float32."""
        (means, _), transpose = jax.vjp(lambda x: attend(queries, keys, x, mask), keys)
        (sums,) = transpose((asked, zeros))
        return means.astype(jnp.float32), sums.astype(jnp.float32)

    (kept_means, kept_sums), (means, sums) = keys_for(counted), keys_for(seen)
    to_queries = to_queries.astype(jnp.float32) + inner * scale * (kept_means - means)
    to_keys = to_keys.astype(jnp.float32) + kept_sums - sums
    return to_queries.astype(queries.dtype), to_keys.astype(keys.dtype), to_values, None, None


attention_with_dropout.defvjp(_forward, _backward)
