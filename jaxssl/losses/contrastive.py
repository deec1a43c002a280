"""Contrastive losses: tell the partner of a row from the partners of all others.

    batch   pairs over all devices, n        cos_ij   cosine of row i of one side and row j of the other
    t       temperature, divides cosines     w_i      weight of a pair; with weight 0 it is nobody's negative

Embeddings are brought to length one in float32, products are taken in their own type, softmax in float32.
`block_size=None` holds all [n_local, n] logits and gathers the others' embeddings; given, it takes as many
rows at a time, in a ring over the devices, and no matrix of all pairs exists (`contrastive_tiles`).
`temperature` (and `bias`) may be arrays that are trained. The value with `axis_name` is that of the
global batch, and so is the gradient, for `jax.grad` outside and `lax.pmean(jax.grad(...))` inside.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.axes import AxisName, keep_used, softmax_type, sum_weighted, weighted_mean
from jaxssl.losses.contrastive_tiles import NOTHING, sum_of_log_sums, sum_of_logistics
from jaxssl.losses.unit_vectors import to_unit

Number = float | Float[Array, ""]
Embeddings = Float[Array, "batch dim"]


def nt_xent(
    first: Embeddings,
    second: Embeddings,
    weights: Float[Array, " batch"] | None = None,
    *,
    temperature: Number = 0.1,
    axis_name: AxisName = None,
    block_size: int | None = None,
) -> Float[Array, ""]:
    """Weighted mean over all 2n rows z of -log(exp(cos(z, partner)/t) / sum_{others} exp(cos/t)).

    Chen et al. 2020 (SimCLR), equation 1: each row of both views against the 2n - 1 others. In nats; a
    single pair gives 0. Raises ValueError where shapes do not fit.

    >>> import jax.numpy as jnp
    >>> views = jnp.eye(2)
    >>> round(float(nt_xent(views, views, temperature=1.0)), 4)  # log(e + 2) - 1
    0.5514
    """
    first, second, weights = _prepare(first, second, weights, temperature, block_size)
    if block_size is None:
        losses = _nt_xent_rows(first, second, weights, temperature, axis_name)
        total = sum_weighted(losses, weights)
    else:
        rows, halves = jnp.concatenate([first, second]), jnp.concatenate([weights, weights]) / 2
        scale = _scale(temperature, rows)
        sums = sum_of_log_sums(rows, None, halves, scale, block=block_size, axis_name=axis_name)
        total = sums - sum_weighted(_cosines(first, second), weights) * scale
    return weighted_mean(total, weights.sum(), axis_name=axis_name)


def nt_xent_per_example(
    first: Embeddings,
    second: Embeddings,
    *,
    temperature: Number = 0.1,
    axis_name: AxisName = None,
) -> Float[Array, " batch"]:
    """The loss of every pair of this device by itself, the mean of its two rows'.

    Against all pairs of all devices; dense, as `nt_xent` without `block_size`, and raises what it raises.

    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in nt_xent_per_example(jnp.eye(2), jnp.eye(2), temperature=1.0).tolist()]
    [0.5514, 0.5514]
    """
    first, second, weights = _prepare(first, second, None, temperature, None)
    return _nt_xent_rows(first, second, weights, temperature, axis_name)


def info_nce(
    queries: Embeddings,
    keys: Embeddings,
    weights: Float[Array, " batch"] | None = None,
    *,
    temperature: Number = 0.07,
    symmetric: bool = True,
    axis_name: AxisName = None,
    block_size: int | None = None,
) -> Float[Array, ""]:
    """Weighted mean over i of -log(exp(cos_ii/t) / sum_j exp(cos_ij/t)), queries against keys.

    van den Oord et al. 2018, equation 4. `symmetric` takes the mean with the same of keys against
    queries, as CLIP does (Radford et al. 2021, figure 3). In nats; a single pair gives 0. Raises
    ValueError where shapes do not fit.

    >>> import jax.numpy as jnp
    >>> round(float(info_nce(jnp.eye(2), jnp.eye(2), temperature=1.0)), 4)  # log(e + 1) - 1
    0.3133
    """
    queries, keys, weights = _prepare(queries, keys, weights, temperature, block_size)
    if block_size is None:
        losses = _info_nce_rows(queries, keys, weights, temperature, symmetric, axis_name)
        total = sum_weighted(losses, weights)
    else:
        scale = _scale(temperature, queries)
        sums = sum_of_log_sums(
            queries,
            keys,
            weights / 2 if symmetric else weights,
            scale,
            by_columns=symmetric,
            block=block_size,
            axis_name=axis_name,
        )
        total = sums - sum_weighted(_cosines(queries, keys), weights) * scale
    return weighted_mean(total, weights.sum(), axis_name=axis_name)


def info_nce_per_example(
    queries: Embeddings,
    keys: Embeddings,
    *,
    temperature: Number = 0.07,
    symmetric: bool = True,
    axis_name: AxisName = None,
) -> Float[Array, " batch"]:
    """The loss of every pair of this device by itself.

    Against all pairs of all devices; dense, as `info_nce` without `block_size`, and raises what it raises.

    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in info_nce_per_example(jnp.eye(2), jnp.eye(2), temperature=1.0).tolist()]
    [0.3133, 0.3133]
    """
    queries, keys, weights = _prepare(queries, keys, None, temperature, None)
    return _info_nce_rows(queries, keys, weights, temperature, symmetric, axis_name)


def sigmoid_contrastive(
    queries: Embeddings,
    keys: Embeddings,
    weights: Float[Array, " batch"] | None = None,
    *,
    temperature: Number,
    bias: Number,
    axis_name: AxisName = None,
    block_size: int | None = None,
) -> Float[Array, ""]:
    """1/n sum_ij log(1 + exp(-y_ij (cos_ij/t + bias))), y = 1 for a pair and -1 for all others.

    Zhai et al. 2023 (SigLIP), equation 1, whose factor 10 is temperature 0.1 here (it divides, as in all
    of this library) and whose bias starts at -10. A pair (i, j) weighs (w_i + w_j) / 2. Raises ValueError
    where shapes do not fit.

    >>> import jax.numpy as jnp
    >>> round(float(sigmoid_contrastive(jnp.eye(2), jnp.eye(2), temperature=1.0, bias=0.0)), 4)
    1.0064
    """
    queries, keys, weights = _prepare(queries, keys, weights, temperature, block_size)
    if block_size is None:
        total = _sigmoid_rows(queries, keys, weights, temperature, bias, axis_name).sum()
    else:
        total = sum_of_logistics(
            queries,
            keys,
            weights,
            _scale(temperature, queries),
            jnp.asarray(bias, softmax_type(queries)),
            block=block_size,
            axis_name=axis_name,
        )
    return weighted_mean(total, weights.sum(), axis_name=axis_name)


def sigmoid_contrastive_per_example(
    queries: Embeddings,
    keys: Embeddings,
    *,
    temperature: Number,
    bias: Number,
    axis_name: AxisName = None,
) -> Float[Array, " batch"]:
    """Of every query of this device, the sum over all keys; the loss is the mean of these.

    Dense, as `sigmoid_contrastive` without `block_size`, and raises what it raises.

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(2)
    >>> [round(x, 4) for x in sigmoid_contrastive_per_example(eye, eye, temperature=1.0, bias=0.0).tolist()]
    [1.0064, 1.0064]
    """
    queries, keys, weights = _prepare(queries, keys, None, temperature, None)
    return _sigmoid_rows(queries, keys, weights, temperature, bias, axis_name)


def _prepare(
    first: Array, second: Array, weights: Array | None, temperature: Number, block: int | None
) -> tuple[Array, Array, Array]:
    """Checked; unit vectors in the type that came in; weights in float32."""
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(
            f"embeddings {first.shape} and {second.shape} must both be [batch, dim], of one shape"
        )
    weights = jnp.ones(first.shape[0]) if weights is None else weights
    if weights.shape != first.shape[:1]:
        raise ValueError(
            f"weights of shape {weights.shape} must be [{first.shape[0]}], one for each row of "
            f"embeddings {first.shape}"
        )
    if isinstance(temperature, (int, float)) and temperature <= 0:
        raise ValueError(f"temperature {temperature} must be above 0: it divides the cosines")
    if block is not None and block < 1:
        raise ValueError(f"block_size {block} must be at least 1 row; None takes all rows at once")
    left, right = (to_unit(keep_used(x, weights)).astype(x.dtype) for x in (first, second))
    return left, right, weights.astype(softmax_type(first))


def _scale(temperature: Number, rows: Array) -> Array:
    return 1 / jnp.asarray(temperature, softmax_type(rows))


def _cosines(first: Array, second: Array) -> Array:
    kind = softmax_type(first)
    return jnp.einsum("id,id->i", first, second, preferred_element_type=kind)


def _all_devices(array: Array, axis_name: AxisName) -> Array:
    return array if axis_name is None else jax.lax.all_gather(array, axis_name, tiled=True)


def _own_index(count: int, axis_name: AxisName) -> Array:
    device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
    return device * count + jnp.arange(count)


def _row_losses(
    rows: Array, columns: Array, is_pair: Array, partners: Array, temperature: Number
) -> Array:
    """log sum_j exp(s_ij) - s_i,partner, sums over the columns where is_pair."""
    kind = softmax_type(rows)
    logits = jnp.einsum("id,jd->ij", rows, columns, preferred_element_type=kind) * _scale(
        temperature, rows
    )
    log_sum = jax.nn.logsumexp(jnp.where(is_pair, logits, NOTHING), axis=1)
    return log_sum - jnp.take_along_axis(logits, partners[:, None], axis=1)[:, 0]


def _nt_xent_rows(
    first: Array, second: Array, weights: Array, temperature: Number, axis_name: AxisName
) -> Array:
    gather = partial(_all_devices, axis_name=axis_name)
    columns = jnp.concatenate([gather(first), gather(second)])
    is_used = jnp.tile(gather(weights) > 0, 2)
    own = _own_index(first.shape[0], axis_name)
    pairs = columns.shape[0] // 2

    def losses(rows: Array, me: Array, partner: Array) -> Array:
        is_pair = is_used[None] & (jnp.arange(2 * pairs)[None] != me[:, None])
        return _row_losses(rows, columns, is_pair, partner, temperature)

    return (losses(first, own, own + pairs) + losses(second, own + pairs, own)) / 2


def _info_nce_rows(
    queries: Array,
    keys: Array,
    weights: Array,
    temperature: Number,
    symmetric: bool,
    axis_name: AxisName,
) -> Array:
    gather = partial(_all_devices, axis_name=axis_name)
    is_used = (gather(weights) > 0)[None]
    own = _own_index(queries.shape[0], axis_name)
    losses = _row_losses(queries, gather(keys), is_used, own, temperature)
    if not symmetric:
        return losses
    return (losses + _row_losses(keys, gather(queries), is_used, own, temperature)) / 2


def _sigmoid_rows(
    queries: Array,
    keys: Array,
    weights: Array,
    temperature: Number,
    bias: Number,
    axis_name: AxisName,
) -> Array:
    gather = partial(_all_devices, axis_name=axis_name)
    keys, others = gather(keys), gather(weights)
    kind = softmax_type(queries)
    logits = jnp.einsum("id,jd->ij", queries, keys, preferred_element_type=kind) * _scale(
        temperature, queries
    ) + jnp.asarray(bias, kind)
    is_own = jnp.arange(keys.shape[0])[None] == _own_index(queries.shape[0], axis_name)[:, None]
    is_used = (weights > 0)[:, None] & (others > 0)[None]
    pairs = jnp.where(is_used, (weights[:, None] + others[None]) / 2, 0.0)
    return (pairs * jax.nn.softplus(jnp.where(is_own, -logits, logits))).sum(axis=1)
