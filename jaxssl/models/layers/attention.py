"""Attention within documents: the formula, and the choice of what computes it.

Shapes: queries [batch, length, heads, head_dim]; keys and values [batch, places, kv_heads,
head_dim], where places is length but in cross-attention. kv_heads divides heads; query head i reads
key head i // (heads / kv_heads).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.models.layers.attention_choice import Choice, AttentionImplementation, choose
from jaxssl.models.layers.dropout import dropout
from jaxssl.models.layers.fused_attention import cudnn_attention, on_mesh, splash_attention

Queries = Float[Array, "batch length heads head_dim"]
Keys = Float[Array, "batch places kv_heads head_dim"]
Segments = Int[Array, "batch length"]
Prefix = Bool[Array, "batch length"]


def attention(
    queries: Queries,
    keys: Keys,
    values: Keys,
    segments: Segments,
    *,
    key_segments: Int[Array, "batch places"] | None = None,
    causal: bool = False,
    prefix: Prefix | None = None,
    window: int | Array | None = None,
    dropout_rate: float = 0.0,
    key: Array | None = None,
    implementation: AttentionImplementation = "auto",
) -> Queries:
    """softmax(q k / sqrt(head_dim)) v over the places that a query may see (Vaswani et al. 2017).

    A place sees those of its own segment, none of them later if `causal` (but those of the `prefix`,
    which all of the segment see; Raffel et al. 2020, section 3.2.1), and none more than `window`
    places away on either side (a number, or a traced scalar where layers differ). `key_segments`
    are those of keys that are of another sequence: cross-attention. A place that sees nothing, as
    all of segment 0 (padding), gets zeros. Dropout acts on the weights.

    A fused kernel computes it where there is one that can, by the platform of the surrounding mesh
    (attention_choice.py); `implementation` "xla" never takes one, and "fused" raises `InputError` without one.
    """
    dropped = key is not None and dropout_rate > 0
    choice = choose(
        implementation,
        queries,
        keys,
        dropped=dropped,
        windowed=window is not None,
        prefixed=causal and prefix is not None,
    )
    if choice.kernel != "xla":
        return _fused(choice, queries, keys, values, segments, key_segments, causal)
    return xla_attention(
        queries,
        keys,
        values,
        segments,
        key_segments=key_segments,
        causal=causal,
        prefix=prefix,
        window=window,
        dropout_rate=dropout_rate,
        key=key,
    )


def _fused(
    choice: Choice,
    queries: Queries,
    keys: Keys,
    values: Keys,
    segments: Segments,
    key_segments: Int[Array, "batch places"] | None,
    causal: bool,
) -> Queries:
    kernel = {"splash": splash_attention, "cudnn": cudnn_attention}[choice.kernel]
    theirs = segments if key_segments is None else key_segments
    mixed = on_mesh(partial(kernel, causal=causal), queries, keys, values, segments, theirs)
    sees = segments != 0
    if key_segments is not None:
        sees = visible(segments, key_segments, causal=False, window=None).any(axis=2)
    return jnp.where(sees[:, :, None, None], mixed, 0)


def visible(
    segments: Segments,
    key_segments: Int[Array, "batch places"] | None = None,
    *,
    causal: bool,
    prefix: Prefix | None = None,
    window: int | Array | None,
) -> Bool[Array, "batch length places"]:
    """Whether the place of axis 1 may look at the place of axis 2."""
    theirs = segments if key_segments is None else key_segments
    same = (segments[:, :, None] == theirs[:, None, :]) & (segments[:, :, None] != 0)
    shape = (1, segments.shape[1], theirs.shape[1])
    ahead = jax.lax.broadcasted_iota(jnp.int32, shape, 2) - jax.lax.broadcasted_iota(
        jnp.int32, shape, 1
    )
    if causal:
        behind = ahead <= 0
        same = same & (behind if prefix is None else behind | prefix[:, None, :])
    if window is not None:
        same = same & (jnp.abs(ahead) <= window)
    return same


def xla_attention(
    queries: Queries,
    keys: Keys,
    values: Keys,
    segments: Segments,
    *,
    key_segments: Int[Array, "batch places"] | None,
    causal: bool,
    prefix: Prefix | None,
    window: int | Array | None,
    dropout_rate: float,
    key: Array | None,
) -> Queries:
    """The plain formula; the weights [batch, heads, length, places] exist. Softmax in float32."""
    batch, length, heads, head_dim = queries.shape
    kv_heads = keys.shape[2]
    groups = heads // kv_heads
    # Heads before places: every product is then a plain batched matrix product (10 % of a small
    # model's step on a CPU against leaving the order to einsum).
    queries = (queries * head_dim**-0.5).reshape(batch, length, kv_heads, groups, head_dim)
    queries = queries.transpose(0, 2, 3, 1, 4)
    keys, values = keys.transpose(0, 2, 1, 3), values.transpose(0, 2, 1, 3)
    scores = jnp.einsum("bkgtd,bksd->bkgts", queries, keys, preferred_element_type=jnp.float32)
    seen = visible(segments, key_segments, causal=causal, prefix=prefix, window=window)
    sees = segments != 0 if key_segments is None else seen.any(axis=2)
    seen = seen[:, None, None]
    # A finite floor: a place that sees nothing gets equal weights, not 0 / 0, and is zeroed below.
    weights = jax.nn.softmax(jnp.where(seen, scores, jnp.finfo(jnp.float32).min), axis=-1)
    weights = dropout(weights, dropout_rate, key).astype(values.dtype)
    mixed = jnp.einsum("bkgts,bksd->bkgtd", weights, values).transpose(0, 3, 1, 2, 4)
    return jnp.where(sees[:, :, None, None], mixed.reshape(batch, length, heads, head_dim), 0)
