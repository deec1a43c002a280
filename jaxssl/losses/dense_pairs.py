"""Contrastive losses of every row from all its logits at once: simple, and quadratic in memory.

Each device holds the logits of its own rows against the columns of all devices, `[n_local, n]`;
embeddings of other devices are gathered. `blockwise` computes the same losses tile by tile.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.axes import AxisName
from jaxssl.losses.precision import NOTHING, softmax_type

Number = float | Float[Array, ""]


def inverse_temperature(temperature: Number, rows: Array) -> Array:
    """Returns 1 / `temperature`, a scalar of the type in which losses of `rows` (`[n, dim]`) are computed."""
    return 1 / jnp.asarray(temperature, softmax_type(rows))


def all_devices(array: Array, axis_name: AxisName) -> Array:
    """Gathers `array`, `[n_local, ...]`, over `axis_name` to `[n, ...]`; `None` changes nothing."""
    return array if axis_name is None else jax.lax.all_gather(array, axis_name, tiled=True)


def own_index(count: int, axis_name: AxisName) -> Array:
    """Returns the numbers of this device's `count` rows in the global batch of `axis_name`, int `[count]`."""
    device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
    return device * count + jnp.arange(count)


def _row_losses(
    rows: Array, columns: Array, is_pair: Array, partners: Array, temperature: Number
) -> Array:
    """log sum_j exp(s_ij) - s_i,partner for every row i, with the sum over the columns where `is_pair`."""
    kind = softmax_type(rows)
    cosines = jnp.einsum("id,jd->ij", rows, columns, preferred_element_type=kind)
    logits = cosines * inverse_temperature(temperature, rows)
    log_sum = jax.nn.logsumexp(jnp.where(is_pair, logits, NOTHING), axis=1)
    return log_sum - jnp.take_along_axis(logits, partners[:, None], axis=1)[:, 0]


def nt_xent_rows(
    first: Array, second: Array, weights: Array, temperature: Number, axis_name: AxisName
) -> Array:
    """Computes the NT-Xent loss of every pair of this device against all pairs of all devices.

    Args:
      first: Unit vectors of the first view, `[n_local, dim]`.
      second: Unit vectors of the second view, `[n_local, dim]`.
      weights: Weight of every pair, `[n_local]`. A pair of weight 0 is no negative of any other
        pair.
      temperature: Positive number that divides the cosines.
      axis_name: Mapped axis over which the batch is sharded, or `None`.

    Returns:
      Mean of the losses of the two views, `[n_local]`, float32.
    """
    gather = partial(all_devices, axis_name=axis_name)
    columns = jnp.concatenate([gather(first), gather(second)])
    is_used = jnp.tile(gather(weights) > 0, 2)
    own = own_index(first.shape[0], axis_name)
    pairs = columns.shape[0] // 2

    def losses(rows: Array, me: Array, partner: Array) -> Array:
        """The losses of one view: row i is the column me[i], and its positive is the column partner[i]."""
        is_pair = is_used[None] & (jnp.arange(2 * pairs)[None] != me[:, None])
        return _row_losses(rows, columns, is_pair, partner, temperature)

    return (losses(first, own, own + pairs) + losses(second, own + pairs, own)) / 2


def info_nce_rows(
    queries: Array,
    keys: Array,
    weights: Array,
    temperature: Number,
    symmetric: bool,
    axis_name: AxisName,
) -> Array:
    """Computes the InfoNCE loss of every pair of this device against all pairs of all devices.

    Args:
      queries: Unit vectors, `[n_local, dim]`.
      keys: Unit vectors, `[n_local, dim]`; key i is the positive of query i.
      weights: Weight of every pair, `[n_local]`. A pair of weight 0 is no negative of any other
        pair.
      temperature: Positive number that divides the cosines.
      symmetric: Whether to average with the loss of the keys against all queries.
      axis_name: Mapped axis over which the batch is sharded, or `None`.

    Returns:
      Losses, `[n_local]`, float32.
    """
    gather = partial(all_devices, axis_name=axis_name)
    is_used = (gather(weights) > 0)[None]
    own = own_index(queries.shape[0], axis_name)
    losses = _row_losses(queries, gather(keys), is_used, own, temperature)
    if not symmetric:
        return losses
    return (losses + _row_losses(keys, gather(queries), is_used, own, temperature)) / 2


def sigmoid_rows(
    queries: Array,
    keys: Array,
    weights: Array,
    temperature: Number,
    bias: Number,
    axis_name: AxisName,
) -> Array:
    """Computes, for every query of this device, the sum of the logistic losses with all keys of all devices.

    Args:
      queries: Unit vectors, `[n_local, dim]`.
      keys: Unit vectors, `[n_local, dim]`; key i is the positive of query i.
      weights: Weight of every pair, `[n_local]`. The loss of query i and key j is weighted by the
        mean of both.
      temperature: Positive number that divides the cosines.
      bias: Number added to every logit.
      axis_name: Mapped axis over which the batch is sharded, or `None`.

    Returns:
      Weighted sums, `[n_local]`, float32.
    """
    gather = partial(all_devices, axis_name=axis_name)
    keys, others = gather(keys), gather(weights)
    kind = softmax_type(queries)
    cosines = jnp.einsum("id,jd->ij", queries, keys, preferred_element_type=kind)
    logits = cosines * inverse_temperature(temperature, queries) + jnp.asarray(bias, kind)
    is_own = jnp.arange(keys.shape[0])[None] == own_index(queries.shape[0], axis_name)[:, None]
    is_used = (weights > 0)[:, None] & (others > 0)[None]
    pairs = jnp.where(is_used, (weights[:, None] + others[None]) / 2, 0.0)
    return (pairs * jax.nn.softplus(jnp.where(is_own, -logits, logits))).sum(axis=1)
