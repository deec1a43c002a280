"""Attention whose scores stay on the chip: splash attention of JAX on TPUs, cuDNN's on GPUs.

Both walk over blocks of keys with a running softmax, and make the scores again in the backward pass
from the one number a query that they keep (Dao et al. 2022, FlashAttention). Splash compares segment
ids as it goes; cuDNN takes them as a mask, one for all heads. Padding (segment 0) sees itself here,
and gets zeros from `attention`.

    batch    rows of a device        places   of keys and values; length but in cross-attention
    length   of queries              block    places that a kernel takes at a time
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array, Float, Int

from jaxssl.sharding.layout import mesh_axes

Queries = Float[Array, "batch length heads head_dim"]
Keys = Float[Array, "batch places kv_heads head_dim"]
Ids = Int[Array, "batch length"]
KeyIds = Int[Array, "batch places"]
Kernel = Callable[[Queries, Keys, Keys, Ids, KeyIds], Queries]

LARGEST_BLOCK = 512
KEPT = "fused_attention"  # name of what a layer keeps of splash for its backward pass
CUDNN_FORWARD = "dot_product_attention_fwd"  # name of the primitive whose results it keeps


def on_mesh(kernel: Kernel, queries: Array, keys: Array, values: Array, *ids: Array) -> Array:
    """The kernel inside `shard_map`: every device takes its own rows and heads, nothing moves."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1 or AxisType.Manual in mesh.axis_types:
        return kernel(queries, keys, values, *ids)
    rows, heads = (mesh_axes(axis, mesh)[0] or None for axis in ("batch", "heads"))
    cut = PartitionSpec(rows, None, heads)
    mapped = jax.shard_map(
        kernel,
        in_specs=(cut, cut, cut, PartitionSpec(rows), PartitionSpec(rows)),
        out_specs=cut,
        check_vma=False,  # kernels do not say over which axes their results vary
    )
    return mapped(queries, keys, values, *ids)


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
    """Pallas' kernel for TPUs; `interpret` runs it anywhere, slowly. Rows are padded to whole blocks."""
    # It loads Pallas, which no other path needs.
    from jax.experimental.pallas.ops.tpu import splash_attention as splash

    (length, heads, head_dim), places = queries.shape[1:], keys.shape[1]
    of_queries, of_keys = block_of(length, largest_block), block_of(places, largest_block)
    queries = _pad(queries * head_dim**-0.5, of_queries)
    keys, values = _pad(keys, of_keys), _pad(values, of_keys)
    segments, key_segments = _pad(segments, of_queries), _pad(key_segments, of_keys)
    kind = splash.CausalMask if causal else splash.FullMask
    kernel = splash.make_splash_mha(
        splash.MultiHeadMask([kind((queries.shape[1], keys.shape[1]))] * heads),
        block_sizes=_sizes(splash.BlockSizes, of_queries, of_keys),
        head_shards=1,
        q_seq_shards=1,
        residual_checkpoint_name=KEPT,
        interpret=interpret,
    )

    def of_row(queries: Array, keys: Array, values: Array, of_q: Array, of_kv: Array) -> Array:
        return kernel(queries, keys, values, splash.SegmentIds(of_q, of_kv))

    queries, keys, values = (x.transpose(0, 2, 1, 3) for x in (queries, keys, values))
    mixed = jax.vmap(of_row)(queries, keys, values, segments, key_segments)
    return mixed.transpose(0, 2, 1, 3)[:, :length]


def block_of(places: int, largest: int) -> int:
    """The block for so many places: as few blocks as possible, and no longer than they must be."""
    count = -(-places // largest)
    return -(-places // (count * 128)) * 128


def _sizes(make: Callable[..., Any], of_queries: int, of_keys: int) -> Any:
    """The same blocks in all three kernels: forward, and the gradients of queries and of keys."""
    names = ("", "_dkv", "_dq")
    sizes = {f"block_q{name}": of_queries for name in names}
    sizes |= {f"block_kv{name}": of_keys for name in names}
    return make(**sizes, block_kv_compute=of_keys, block_kv_dkv_compute=of_keys)


def cudnn_attention(
    queries: Queries,
    keys: Keys,
    values: Keys,
    segments: Ids,
    key_segments: KeyIds,
    *,
    causal: bool,
) -> Queries:
    """cuDNN's kernel by way of JAX. Of segments there is a mask [batch, 1, length, places]."""
    length = queries.shape[1]
    queries, keys, values = (_pad(x, 2) for x in (queries, keys, values))
    segments, key_segments = _pad(segments, 2), _pad(key_segments, 2)
    same = segments[:, None, :, None] == key_segments[:, None, None, :]
    mixed = jax.nn.dot_product_attention(
        queries, keys, values, mask=same, is_causal=causal, implementation="cudnn"
    )
    return mixed[:, :length]


def _pad(x: Array, block: int) -> Array:
    """Whole blocks along axis 1, filled up with zeros."""
    missing = -x.shape[1] % block
    return jnp.pad(x, [(0, missing if axis == 1 else 0) for axis in range(x.ndim)])
