"""Attention whose scores stay on the chip: JAX's splash attention on TPUs, cuDNN's kernel on GPUs.

Both visit blocks of keys with a running softmax, and compute the scores again in the backward pass from
the one number per query that they keep (Dao et al. 2022, FlashAttention). Splash attention compares
segment ids block by block; cuDNN takes them as one mask for all heads. Padding (segment 0) sees itself
here; `attention` sets its result to zero.

    queries           [batch, length, heads, head_dim]
    keys and values   [batch, key_length, kv_heads, head_dim]
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array, Float, Int

from jaxssl.sharding.layout import mesh_axes

Queries = Float[Array, "batch length heads head_dim"]
Keys = Float[Array, "batch key_length kv_heads head_dim"]
Ids = Int[Array, "batch length"]
KeyIds = Int[Array, "batch key_length"]
Kernel = Callable[[Queries, Keys, Keys, Ids, KeyIds], Queries]

LARGEST_BLOCK = 512  # positions that splash attention takes at a time
KEPT = "fused_attention"  # checkpoint name of what splash attention keeps for the backward pass
CUDNN_FORWARD = "dot_product_attention_fwd"  # primitive whose results a layer keeps on GPUs


def run_on_mesh(
    kernel: Kernel, queries: Queries, keys: Keys, values: Keys, segments: Ids, key_segments: KeyIds
) -> Queries:
    """Runs an attention kernel inside `shard_map`: every device computes its own rows and heads.

    Without a surrounding mesh, or inside of another `shard_map`, the kernel is called directly.

    Args:
      kernel: Function of the five arrays.
      queries: Queries, `[batch, length, heads, head_dim]`.
      keys: Keys, `[batch, key_length, kv_heads, head_dim]`.
      values: Values, of the shape of the keys.
      segments: Document number of every query, `[batch, length]`.
      key_segments: Document number of every key, `[batch, key_length]`.

    Returns:
      What the kernel returns, `[batch, length, heads, head_dim]`.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1 or AxisType.Manual in mesh.axis_types:
        return kernel(queries, keys, values, segments, key_segments)
    rows, heads = (mesh_axes(axis, mesh)[0] or None for axis in ("batch", "heads"))
    by_head, by_row = PartitionSpec(rows, None, heads), PartitionSpec(rows)
    mapped = jax.shard_map(
        kernel,
        in_specs=(by_head, by_head, by_head, by_row, by_row),
        out_specs=by_head,
        check_vma=False,  # kernels do not say over which axes their results vary
    )
    return mapped(queries, keys, values, segments, key_segments)


def splash_attention(
    queries: Queries,
    keys: Keys,
    values: Keys,
    segments: Ids,
    key_segments: KeyIds,
    *,
    causal: bool,
    largest_block: int = LARGEST_BLOCK,
    interpret: bool = False,
) -> Queries:
    """Computes attention by JAX's Pallas kernel for TPUs; rows are padded to whole blocks.

    Args:
      queries: Queries, `[batch, length, heads, head_dim]`.
      keys: Keys, `[batch, key_length, kv_heads, head_dim]`.
      values: Values, of the shape of the keys.
      segments: Document number of every query, `[batch, length]`.
      key_segments: Document number of every key, `[batch, key_length]`.
      causal: Whether a position sees no later ones.
      largest_block: Positions that the kernel takes at a time, at most.
      interpret: Interpret the kernel, which runs it on any platform, slowly.

    Returns:
      The mixed values, `[batch, length, heads, head_dim]`.
    """
    # It loads Pallas, which no other path needs.
    from jax.experimental.pallas.ops.tpu import splash_attention as splash

    (length, heads, head_dim), key_length = queries.shape[1:], keys.shape[1]
    query_block, key_block = block_of(length, largest_block), block_of(key_length, largest_block)
    queries = _pad(queries * head_dim**-0.5, query_block)
    keys, values = _pad(keys, key_block), _pad(values, key_block)
    segments, key_segments = _pad(segments, query_block), _pad(key_segments, key_block)
    kind = splash.CausalMask if causal else splash.FullMask
    kernel = splash.make_splash_mha(
        splash.MultiHeadMask([kind((queries.shape[1], keys.shape[1]))] * heads),
        block_sizes=_sizes(splash.BlockSizes, query_block, key_block),
        head_shards=1,
        q_seq_shards=1,
        residual_checkpoint_name=KEPT,
        interpret=interpret,
    )

    def mix_row(queries: Array, keys: Array, values: Array, of_q: Array, of_kv: Array) -> Array:
        return kernel(queries, keys, values, splash.SegmentIds(of_q, of_kv))

    queries, keys, values = (x.transpose(0, 2, 1, 3) for x in (queries, keys, values))
    mixed = jax.vmap(mix_row)(queries, keys, values, segments, key_segments)
    return mixed.transpose(0, 2, 1, 3)[:, :length]


def block_of(length: int, largest: int) -> int:
    """Chooses the block size of a row of `length` positions.

    Returns:
      A multiple of 128 that makes as few blocks as those of `largest` do, and as little padding as possible.
    """
    count = -(-length // largest)
    return -(-length // (count * 128)) * 128


def _sizes(make: Callable[..., Any], query_block: int, key_block: int) -> Any:
    """The same blocks in all three kernels: forward, and the gradients of queries and of keys."""
    names = ("", "_dkv", "_dq")
    sizes = {f"block_q{name}": query_block for name in names}
    sizes |= {f"block_kv{name}": key_block for name in names}
    return make(**sizes, block_kv_compute=key_block, block_kv_dkv_compute=key_block)


def cudnn_attention(
    queries: Queries,
    keys: Keys,
    values: Keys,
    segments: Ids,
    key_segments: KeyIds,
    *,
    causal: bool,
) -> Queries:
    """Computes attention by cuDNN's kernel, with a mask `[batch, 1, length, key_length]` of segments.

    Args:
      queries: Queries, `[batch, length, heads, head_dim]`.
      keys: Keys, `[batch, key_length, kv_heads, head_dim]`.
      values: Values, of the shape of the keys.
      segments: Document number of every query, `[batch, length]`.
      key_segments: Document number of every key, `[batch, key_length]`.
      causal: Whether a position sees no later ones.

    Returns:
      The mixed values, `[batch, length, heads, head_dim]`.
    """
    length = queries.shape[1]
    queries, keys, values = (_pad(x, 2) for x in (queries, keys, values))
    segments, key_segments = _pad(segments, 2), _pad(key_segments, 2)
    same = segments[:, None, :, None] == key_segments[:, None, None, :]
    mixed = jax.nn.dot_product_attention(
        queries, keys, values, mask=same, is_causal=causal, implementation="cudnn"
    )
    return mixed[:, :length]


def _pad(x: Array, block: int) -> Array:
    """Zeros behind axis 1, up to whole blocks."""
    missing = -x.shape[1] % block
    return jnp.pad(x, [(0, missing if axis == 1 else 0) for axis in range(x.ndim)])
