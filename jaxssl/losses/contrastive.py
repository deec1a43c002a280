"""Contrastive losses: tell the partner of a row from the partners of all others.

    batch   pairs over all devices, n        cos_ij   cosine of row i of one side and row j of the other
    t       temperature, divides cosines     w_i      weight of a pair; with weight 0 it is nobody's negative

Embeddings are brought to length one in float32, products are taken in their own type, softmax in float32.
`block_size=None` holds all [n_local, n] logits and gathers the others' embeddings; given, it takes as many
rows at a time, in a ring over the devices, and no matrix of all pairs exists (`contrastive_tiles`).
`temperature` (and `bias`) may be arrays that are trained. The value with `axis_name` is that of the
global batch, and so is the gradient, for `jax.grad` outside and `lax.pmean(jax.grad(...))` inside.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.axes import AxisName
from jaxssl.losses.blockwise.pair_log_sums import sum_of_log_sums
from jaxssl.losses.blockwise.pair_logistics import sum_of_logistics
from jaxssl.losses.dense_pairs import (
    Number,
    info_nce_rows,
    inverse_temperature,
    nt_xent_rows,
    sigmoid_rows,
)
from jaxssl.losses.precision import softmax_type
from jaxssl.losses.unit_vectors import to_unit
from jaxssl.losses.weighting import keep_used, sum_weighted, weighted_mean

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
        losses = nt_xent_rows(first, second, weights, temperature, axis_name)
        total = sum_weighted(losses, weights)
    else:
        rows, halves = jnp.concatenate([first, second]), jnp.concatenate([weights, weights]) / 2
        scale = inverse_temperature(temperature, rows)
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
    return nt_xent_rows(first, second, weights, temperature, axis_name)


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
        losses = info_nce_rows(queries, keys, weights, temperature, symmetric, axis_name)
        total = sum_weighted(losses, weights)
    else:
        scale = inverse_temperature(temperature, queries)
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
    return info_nce_rows(queries, keys, weights, temperature, symmetric, axis_name)


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
        total = sigmoid_rows(queries, keys, weights, temperature, bias, axis_name).sum()
    else:
        total = sum_of_logistics(
            queries,
            keys,
            weights,
            inverse_temperature(temperature, queries),
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
    return sigmoid_rows(queries, keys, weights, temperature, bias, axis_name)


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


def _cosines(first: Array, second: Array) -> Array:
    kind = softmax_type(first)
    return jnp.einsum("id,id->i", first, second, preferred_element_type=kind)
