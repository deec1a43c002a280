"""Attention whose scores stay on the chip: our own Pallas kernel on TPUs, cuDNN's on GPUs.

Both visit blocks of keys with a running softmax, and compute the scores again in the backward pass from
the one number per query that they keep (Dao et al. 2022, FlashAttention). The kernel in `flash/` compares
documents, windows and prefixes block by block; cuDNN takes them as one mask for all heads.

    queries           [batch, length, heads, head_dim]
    keys and values   [batch, key_length, kv_heads, head_dim]
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from jaxssl.models.layers.cudnn_dropout import attention_with_dropout, cudnn_with_sums
from jaxssl.models.layers.dropout import keeps, key_words, random_bits
from jaxssl.sharding.layout import mesh_axes

Queries = Float[Array, "batch length heads head_dim"]
Keys = Float[Array, "batch key_length kv_heads head_dim"]

KEPT = "fused_attention"  # checkpoint name of what the Pallas kernel keeps for the backward pass
CUDNN_FORWARD = "dot_product_attention_fwd"  # primitive whose results a layer keeps on GPUs


class Rows(NamedTuple):
    """What a kernel reads of every row beside queries, keys and values."""

    segments: Int[Array, "batch length"]
    """Document number of every query, `[batch, length]`; 0 is padding."""
    key_segments: Int[Array, "batch key_length"]
    """Document number of every key, `[batch, key_length]`."""
    prefix: Bool[Array, "batch key_length"] | None
    """Keys that are seen in spite of causality, `[batch, key_length]`. None: there are none."""


class Shared(NamedTuple):
    """What a kernel reads that is the same on all devices."""

    window: Int[Array, ""] | None
    """Positions on either side that a position sees. None: all."""
    words: Array | None
    """The two words of dropout's key, uint32 `[2]`. None: no dropout."""
    is_local: Bool[Array, ""] | None = None
    """Whether the layer takes the local one of two rotary bases. None: there is one base."""


class First(NamedTuple):
    """Where the arrays of a device begin in the whole ones."""

    row: Array | int
    """Number of the first row."""
    head: Array | int
    """Number of the first head."""
    heads: int
    """Number of heads of the whole array."""


Kernel = Callable[[Queries, Keys, Keys, Rows, Shared, First], Queries]


def make_shared(
    window: int | Array | None, key: Array | None, is_local: Array | None = None
) -> Shared:
    """Makes what all devices read.

    Args:
      window: Positions on either side that a position sees. `None`: all.
      key: Random key of dropout. `None`: no dropout.
      is_local: Whether the layer takes the local one of two rotary bases. `None`: there is one base.
    """
    return Shared(
        None if window is None else jnp.asarray(window, jnp.int32),
        None if key is None else key_words(key),
        is_local,
    )


def run_on_mesh(
    kernel: Kernel, queries: Queries, keys: Keys, values: Keys, rows: Rows, shared: Shared
) -> Queries:
    """Runs an attention kernel inside `shard_map`: every device computes its own rows and heads.

    Without a surrounding mesh, or inside of another `shard_map`, the kernel is called directly.

    Args:
      kernel: Function of the arrays, and of where those of a device begin.
      queries: Queries, `[batch, length, heads, head_dim]`.
      keys: Keys, `[batch, key_length, kv_heads, head_dim]`.
      values: Values, of the shape of the keys.
      rows: What is read of every row.
      shared: What is the same on all devices.

    Returns:
      What the kernel returns, `[batch, length, heads, head_dim]`.
    """
    mesh, heads = jax.sharding.get_abstract_mesh(), queries.shape[2]
    if mesh.empty or mesh.size == 1 or AxisType.Manual in mesh.axis_types:
        return kernel(queries, keys, values, rows, shared, First(0, 0, heads))
    row_axes, head_axes = (mesh_axes(axis, mesh)[0] for axis in ("batch", "heads"))

    def on_device(
        queries: Queries, keys: Keys, values: Keys, rows: Rows, shared: Shared
    ) -> Queries:
        first = First(
            jax.lax.axis_index(row_axes) * queries.shape[0] if row_axes else 0,
            jax.lax.axis_index(head_axes) * queries.shape[2] if head_axes else 0,
            heads,
        )
        return kernel(queries, keys, values, rows, shared, first)

    by_head = PartitionSpec(row_axes or None, None, head_axes or None)
    by_row = PartitionSpec(row_axes or None)
    mapped = jax.shard_map(
        on_device,
        in_specs=(by_head, by_head, by_head, by_row, PartitionSpec()),
        out_specs=by_head,
        check_vma=False,  # kernels do not say over which axes their results vary
    )
    return mapped(queries, keys, values, rows, shared)


def cudnn_attention(
    queries: Queries,
    keys: Keys,
    values: Keys,
    rows: Rows,
    shared: Shared,
    first: First,
    *,
    causal: bool,
    dropout_rate: float = 0.0,
) -> Queries:
    """Computes attention by cuDNN's kernel, with a mask `[batch, 1, length, key_length]`.

    Padding sees itself in the mask, since cuDNN wants a visible key for every query; the caller sets its
    result to zero. With dropout the kernel runs several times (cudnn_dropout.py).

    Args:
      queries: Queries, `[batch, length, heads, head_dim]`.
      keys: Keys, `[batch, key_length, kv_heads, head_dim]`.
      values: Values, of the shape of the keys.
      rows: What is read of every row.
      shared: What is the same on all devices.
      first: Where the arrays begin in the whole ones; dropout depends on it.
      causal: Whether a position sees no later ones.
      dropout_rate: Dropout rate of the attention weights, where there is a key.

    Returns:
      The mixed values, `[batch, length, heads, head_dim]`.
    """
    length, key_length = queries.shape[1], keys.shape[1]
    queries, keys, values = (_to_even(x) for x in (queries, keys, values))
    segments, key_segments = _to_even(rows.segments), _to_even(rows.key_segments)
    seen = segments[:, :, None] == key_segments[:, None, :]
    ahead = jax.lax.broadcasted_iota(jnp.int32, seen.shape, 2) - jax.lax.broadcasted_iota(
        jnp.int32, seen.shape, 1
    )
    if shared.window is not None:
        seen &= jnp.abs(ahead) <= shared.window
    prefix = rows.prefix if causal else None
    if prefix is not None:
        seen &= (ahead <= 0) | _to_even(prefix)[:, None, :]
    if shared.words is not None:
        if causal:
            seen &= (ahead <= 0) if prefix is None else True
        keys, values = (
            jnp.repeat(x, queries.shape[2] // x.shape[2], axis=2) for x in (keys, values)
        )
        whole = (1, first.heads, length, key_length)  # the number of rows does not matter
        shape = (seen.shape[0], queries.shape[2], *seen.shape[1:])
        kept = keeps(
            random_bits(shared.words, shape, whole, (first.row, first.head, 0, 0)), dropout_rate
        )
        arrays = (queries, keys, values, seen[:, None], kept)
        return attention_with_dropout(cudnn_with_sums, dropout_rate, *arrays)[:, :length]
    mixed = jax.nn.dot_product_attention(
        queries,
        keys,
        values,
        mask=seen[:, None],
        is_causal=causal and prefix is None,
        implementation="cudnn",
    )
    return mixed[:, :length]


def _to_even(x: Array) -> Array:
    """Zeros behind axis 1, up to an even number of positions."""
    return jnp.pad(x, [(0, x.shape[1] % 2 if axis == 1 else 0) for axis in range(x.ndim)])
