"""Contrastive losses: recognise the partner of an embedding among the partners of all others.

    n        pairs of the global batch, over all devices       t      temperature, which divides the cosines
    cos_ij   cosine of row i of one side and row j of other    w_i    weight of pair i

Embeddings are normalised to length one in float32 and rounded back to their own type for the matrix
products, which are summed in float32; the softmax is float32. A pair of weight 0 is left out
altogether: it has no loss and is no negative of any other pair. `temperature` and `bias` may be
arrays that are trained.

Memory: with `block_size=None`, each device holds all its `[n_local, n]` logits and gathers the
embeddings of the other devices. With a number, logits exist for so many rows at a time, the
embeddings travel around a ring of devices, and no matrix of all pairs exists
(`jaxssl.losses.blockwise`).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.arguments import (
    check_block_size,
    check_finite,
    check_floats,
    check_temperature,
    checked_weights,
)
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
VIEWS = ("first", "second")


def nt_xent(
    first: Embeddings,
    second: Embeddings,
    weights: Float[Array, " batch"] | None = None,
    *,
    temperature: Number = 0.1,
    axis_name: AxisName = None,
    block_size: int | None = None,
) -> Float[Array, ""]:
    """Normalised temperature-scaled cross entropy between two views of a batch (NT-Xent, SimCLR).

    With z the 2n embeddings of both views, the other view of a row is its positive, and the 2n - 2
    embeddings of other samples are its negatives:

        loss = mean_i -log(exp(cos(z_i, z_partner(i)) / t) / sum_{k != i} exp(cos(z_i, z_k) / t))

    Args:
      first: Embeddings of the first view, `[batch, dim]`. They are normalised inside.
      second: Embeddings of the second view, in the same order, `[batch, dim]`.
      weights: Non-negative weight of every pair in the mean, `[batch]`. `None` weights all pairs by
        1.
      temperature: Positive number t that divides the cosines; may be a trained scalar.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the batch is sharded.
        Every embedding is then compared with those of all devices, and value and gradient are those
        of the global batch (`jaxssl.losses.axes` describes the convention).
      block_size: Rows whose logits are held at a time. `None` holds all `[2 batch, 2 n]` logits.

    Returns:
      Scalar loss in nats, float32. It is 0 for a single pair, and if all weights are 0.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range, for instance a
        `temperature` of 0.

    References:
      Chen et al. 2020, "A simple framework for contrastive learning of visual representations",
      equation 1.

    >>> import jax.numpy as jnp
    >>> views = jnp.eye(2)
    >>> round(float(nt_xent(views, views, temperature=1.0)), 4)  # log(e + 2) - 1
    0.5514
    """
    first, second, weights = _prepare(first, second, weights, temperature, block_size, VIEWS)
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
    """Computes the NT-Xent loss of every pair of this device, the mean of the losses of its two embeddings.

    Every embedding is compared with those of all devices. All logits are held, as in `nt_xent`
    without `block_size`.

    Args:
      first: Embeddings of the first view, `[batch, dim]`.
      second: Embeddings of the second view, in the same order, `[batch, dim]`.
      temperature: Positive number that divides the cosines.
      axis_name: Mapped axis over which the batch is sharded, as in `nt_xent`.

    Returns:
      Losses in nats, `[batch]`, float32.

    Raises:
      ValueError: The shapes or types do not fit, or `temperature` is not positive.

    References:
      Chen et al. 2020, equation 1.

    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in nt_xent_per_example(jnp.eye(2), jnp.eye(2), temperature=1.0).tolist()]
    [0.5514, 0.5514]
    """
    first, second, weights = _prepare(first, second, None, temperature, None, VIEWS)
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
    """Computes the InfoNCE loss of queries and keys, by default in both directions (CLIP).

    Key i is the positive of query i, and the keys of all other pairs are its negatives:

        loss = mean_i -log(exp(cos_ii / t) / sum_j exp(cos_ij / t))

    Args:
      queries: Embeddings, `[batch, dim]`. They are normalised inside.
      keys: Embeddings of the partners, in the same order, `[batch, dim]`.
      weights: Non-negative weight of every pair, `[batch]`. `None` weights all pairs by 1.
      temperature: Positive number t that divides the cosines; may be a trained scalar.
      symmetric: Whether to average with the same loss of the keys against all queries, as CLIP
        does.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the batch is sharded.
        Queries are then compared with the keys of all devices, and value and gradient are those of
        the global batch (`jaxssl.losses.axes` describes the convention).
      block_size: Rows whose logits are held at a time. `None` holds all `[batch, n]` logits.

    Returns:
      Scalar loss in nats, float32. It is 0 for a single pair, and if all weights are 0.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range, for instance a
        `temperature` of 0.

    References:
      van den Oord et al. 2018, "Representation learning with contrastive predictive coding",
      equation 4.
      Radford et al. 2021, "Learning transferable visual models from natural language supervision",
      figure 3.

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
    """Computes the InfoNCE loss of every pair of this device.

    Queries are compared with the keys of all devices. All logits are held, as in `info_nce` without
    `block_size`.

    Args:
      queries: Embeddings, `[batch, dim]`.
      keys: Embeddings of the partners, in the same order, `[batch, dim]`.
      temperature: Positive number that divides the cosines.
      symmetric: Whether to average with the loss of the keys against all queries.
      axis_name: Mapped axis over which the batch is sharded, as in `info_nce`.

    Returns:
      Losses in nats, `[batch]`, float32.

    Raises:
      ValueError: The shapes or types do not fit, or `temperature` is not positive.

    References:
      van den Oord et al. 2018, equation 4. Radford et al. 2021, figure 3.

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
    """Computes the sigmoid loss of queries and keys (SigLIP): every pair is classified by itself.

    With y_ij = 1 for the pairs i = j and y_ij = -1 for all others,

        loss = 1 / n sum_ij log(1 + exp(-y_ij (cos_ij / t + bias)))

    Args:
      queries: Embeddings, `[batch, dim]`. They are normalised inside.
      keys: Embeddings of the partners, in the same order, `[batch, dim]`.
      weights: Non-negative weight of every pair, `[batch]`. The loss of query i and key j is
        weighted by (w_i + w_j) / 2, and n is the sum of all w_i. `None` weights all pairs by 1.
      temperature: Positive number t that divides the cosines; may be a trained scalar. The paper
        multiplies by a factor that starts at 10, which is a temperature of 0.1.
      bias: Number added to every logit; may be a trained scalar. The paper starts at -10, because
        almost all pairs are negative.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the batch is sharded.
        Queries are then compared with the keys of all devices, and value and gradient are those of
        the global batch (`jaxssl.losses.axes` describes the convention).
      block_size: Rows whose logits are held at a time. `None` holds all `[batch, n]` logits.

    Returns:
      Scalar loss in nats, float32. It is 0 if all weights are 0.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range, for instance a
        `temperature` of 0.

    References:
      Zhai et al. 2023, "Sigmoid loss for language image pre-training", equation 1.

    >>> import jax.numpy as jnp
    >>> round(float(sigmoid_contrastive(jnp.eye(2), jnp.eye(2), temperature=1.0, bias=0.0)), 4)
    1.0064
    """
    queries, keys, weights = _prepare(queries, keys, weights, temperature, block_size)
    check_finite(bias, "bias")
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
    """Computes, for every query of this device, the sum of its losses with all keys of all devices.

    The mean of these numbers over the global batch is `sigmoid_contrastive`. All logits are held,
    as there without `block_size`.

    Args:
      queries: Embeddings, `[batch, dim]`.
      keys: Embeddings of the partners, in the same order, `[batch, dim]`.
      temperature: Positive number that divides the cosines.
      bias: Number added to every logit.
      axis_name: Mapped axis over which the batch is sharded, as in `sigmoid_contrastive`.

    Returns:
      Losses in nats, `[batch]`, float32.

    Raises:
      ValueError: The shapes or types do not fit, or `temperature` is not positive.

    References:
      Zhai et al. 2023, equation 1.

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(2)
    >>> [round(x, 4) for x in sigmoid_contrastive_per_example(eye, eye, temperature=1.0, bias=0.0).tolist()]
    [1.0064, 1.0064]
    """
    queries, keys, weights = _prepare(queries, keys, None, temperature, None)
    check_finite(bias, "bias")
    return sigmoid_rows(queries, keys, weights, temperature, bias, axis_name)


def _prepare(
    first: Array,
    second: Array,
    weights: Array | None,
    temperature: Number,
    block: int | None,
    names: tuple[str, str] = ("queries", "keys"),
) -> tuple[Array, Array, Array]:
    """Checks the arguments; returns both sides as unit vectors in their own type, and weights in float32."""
    check_floats(**dict(zip(names, (first, second), strict=True)))
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(
            f"{names[0]} {first.shape} and {names[1]} {second.shape} must both be [batch, dim], of one "
            "shape"
        )
    weights = checked_weights(weights, first.shape[:1], f"each row of {names[0]} {first.shape}")
    check_temperature(temperature)
    check_block_size(block, "rows whose logits are held at a time")
    left, right = (to_unit(keep_used(x, weights)).astype(x.dtype) for x in (first, second))
    return left, right, weights.astype(softmax_type(first))


def _cosines(first: Array, second: Array) -> Array:
    """The cosine of every pair of unit vectors, `[batch]`, summed in float32."""
    kind = softmax_type(first)
    return jnp.einsum("id,id->i", first, second, preferred_element_type=kind)
