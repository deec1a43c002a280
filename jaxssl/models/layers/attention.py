"""Attention within documents: the formula, and the dispatch to what computes it.

    queries           [batch, length, heads, head_dim]
    keys and values   [batch, key_length, kv_heads, head_dim]

`key_length` is `length` in self-attention. `kv_heads` divides `heads`: query head i reads key head
i // (heads / kv_heads) (grouped-query attention, Ainslie et al. 2023).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.models.layers.attention_choice import AttentionImplementation, choose
from jaxssl.models.layers.dropout import dropout
from jaxssl.models.layers.fused_attention import (
    Kernel,
    Rows,
    cudnn_attention,
    make_shared,
    run_on_mesh,
)
from jaxssl.models.layers.rotary import Rotation, rotate_both

Queries = Float[Array, "batch length heads head_dim"]
Keys = Float[Array, "batch key_length kv_heads head_dim"]
Segments = Int[Array, "batch length"]
KeySegments = Int[Array, "batch key_length"]
Prefix = Bool[Array, "batch length"]
Biases = Float[Array, "*rows heads length key_length"]


def attention(
    queries: Queries,
    keys: Keys,
    values: Keys,
    segments: Segments,
    *,
    key_segments: KeySegments | None = None,
    causal: bool = False,
    prefix: Prefix | None = None,
    window: int | Array | None = None,
    scale: float | None = None,
    biases: Biases | None = None,
    dropout_rate: float = 0.0,
    key: Array | None = None,
    rotation: Rotation | None = None,
    implementation: AttentionImplementation = "auto",
) -> Queries:
    """Computes scaled dot-product attention within documents.

        softmax(scale q k^T + biases) v    over the keys that a query may see (`visible`)

    Args:
      queries: Queries, `[batch, length, heads, head_dim]`.
      keys: Keys, `[batch, key_length, kv_heads, head_dim]`.
      values: Values, of the shape of the keys.
      segments: Document number of every query, `[batch, length]`; 0 is padding.
      key_segments: Document number of every key of another sequence (cross-attention), `[batch, key_length]`.
        `None`: keys and queries are of one sequence.
      causal: Whether a position sees no later ones.
      prefix: Positions that all of their document see even if `causal`, bool `[batch, length]` (prefix LM,
        Raffel et al. 2020, section 3.2.1).
      window: Positions on either side that a position sees; a scalar may be traced, where layers differ.
        `None`: all.
      scale: Factor of the products of queries and keys. `None`: `1 / sqrt(head_dim)`.
      biases: Numbers that are added to the scaled products, float32 `[heads, length, key_length]` for all
        rows, or with an axis of rows before them (relative_positions.py). No fused kernel adds them.
        `None`: none.
      dropout_rate: Dropout rate of the attention weights.
      key: Random key of dropout. `None`: no dropout.
      rotation: Rotary positions that queries and keys are rotated by first. `None`: they are not.
      implementation: "auto" takes a fused kernel where one can compute this, "xla" never takes one, "fused"
        always does (attention_choice.py). The platform is that of the surrounding mesh.

    Returns:
      The mixed values in the type of the values, `[batch, length, heads, head_dim]`; zeros where a query
      sees no key, as in padding.

    Raises:
      InputError: `implementation` is "fused" and no fused kernel can compute this.

    References:
      Vaswani et al. 2017, "Attention is all you need", section 3.2.1.
    """
    key = key if dropout_rate > 0 else None
    prefix = prefix if causal else None
    dropped, biased = key is not None, biases is not None
    choice = choose(implementation, queries, keys, dropped=dropped, biased=biased)
    if rotation is not None and not (choice.kernel == "flash" and rotation.bases):
        queries, keys = rotate_both(queries, keys, rotation)
        rotation = None
    if choice.kernel != "xla":
        if scale is not None:  # kernels divide by sqrt(head_dim)
            queries = queries * (scale * queries.shape[-1] ** 0.5)
        rows = Rows(segments, segments if key_segments is None else key_segments, prefix)
        kernel: Kernel = partial(cudnn_attention, causal=causal, dropout_rate=dropout_rate)
        if choice.kernel == "flash":
            from jaxssl.models.layers.flash import attention as flash  # it loads Pallas

            bases = () if rotation is None else rotation.bases
            kernel = partial(
                flash.flash_attention, causal=causal, dropout_rate=dropout_rate, bases=bases
            )
        shared = make_shared(window, key, None if rotation is None else rotation.is_local)
        mixed = run_on_mesh(kernel, queries, keys, values, rows, shared)
        return mixed if choice.kernel == "flash" else _where_it_sees(mixed, segments, key_segments)
    return xla_attention(
        queries,
        keys,
        values,
        segments,
        key_segments=key_segments,
        causal=causal,
        prefix=prefix,
        window=window,
        scale=scale,
        biases=biases,
        dropout_rate=dropout_rate,
        key=key,
    )


def _where_it_sees(mixed: Queries, segments: Segments, key_segments: KeySegments | None) -> Queries:
    """Sets the result of queries that see no key to zero."""
    sees = segments != 0
    if key_segments is not None:
        sees = visible(segments, key_segments, causal=False, window=None).any(axis=2)
    return jnp.where(sees[:, :, None, None], mixed, 0)


def visible(
    segments: Segments,
    key_segments: KeySegments | None = None,
    *,
    causal: bool,
    prefix: Prefix | None = None,
    window: int | Array | None,
) -> Bool[Array, "batch length key_length"]:
    """Computes which keys each query sees: those of its own document, less what the options exclude.

    Args:
      segments: Document number of every query, `[batch, length]`; 0 is padding, which sees nothing.
      key_segments: Document number of every key, `[batch, key_length]`. `None`: the same as `segments`.
      causal: Whether a query sees no later keys.
      prefix: Keys that all queries of their document see even if `causal`, bool `[batch, key_length]`.
      window: Positions on either side that a query sees. `None`: all.

    Returns:
      True where the query of axis 1 sees the key of axis 2, bool `[batch, length, key_length]`.
    """
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
    key_segments: KeySegments | None,
    causal: bool,
    prefix: Prefix | None,
    window: int | Array | None,
    scale: float | None = None,
    biases: Biases | None = None,
    dropout_rate: float,
    key: Array | None,
) -> Queries:
    """Computes attention by the plain formula, with weights `[batch, heads, length, key_length]` in memory.

    The softmax is computed in float32. Arguments and result are those of `attention`.

    Args:
      queries: Queries, `[batch, length, heads, head_dim]`.
      keys: Keys, `[batch, key_length, kv_heads, head_dim]`.
      values: Values, of the shape of the keys.
      segments: Document number of every query, `[batch, length]`.
      key_segments: Document number of every key, `[batch, key_length]`, or `None`.
      causal: Whether a position sees no later ones.
      prefix: Positions that all of their document see, `[batch, length]`, or `None`.
      window: Positions on either side that a position sees, or `None`.
      scale: Factor of the products of queries and keys, or `None`.
      biases: Numbers that are added to the scaled products, `[heads, length, key_length]`, or `None`.
      dropout_rate: Dropout rate of the attention weights.
      key: Random key of dropout, or `None`.

    Returns:
      The mixed values, `[batch, length, heads, head_dim]`.
    """
    batch, length, heads, head_dim = queries.shape
    kv_heads = keys.shape[2]
    groups = heads // kv_heads
    # Heads before positions: every product is then a plain batched matrix product (10 % of a small
    # model's step on a CPU against leaving the order to einsum).
    queries = queries * (head_dim**-0.5 if scale is None else scale)
    queries = queries.reshape(batch, length, kv_heads, groups, head_dim)
    queries = queries.transpose(0, 2, 3, 1, 4)
    keys, values = keys.transpose(0, 2, 1, 3), values.transpose(0, 2, 1, 3)
    scores = jnp.einsum("bkgtd,bksd->bkgts", queries, keys, preferred_element_type=jnp.float32)
    if biases is not None:
        scores = scores + biases.reshape(-1, kv_heads, groups, *biases.shape[-2:])
    seen = visible(segments, key_segments, causal=causal, prefix=prefix, window=window)
    sees = segments != 0 if key_segments is None else seen.any(axis=2)
    seen = seen[:, None, None]
    # A finite floor: a query that sees nothing gets equal weights, not 0 / 0, and its result is set
    # to zero below.
    weights = jax.nn.softmax(jnp.where(seen, scores, jnp.finfo(jnp.float32).min), axis=-1)
    weights = dropout(weights, dropout_rate, key).astype(values.dtype)
    mixed = jnp.einsum("bkgts,bksd->bkgtd", weights, values).transpose(0, 3, 1, 2, 4)
    return jnp.where(sees[:, :, None, None], mixed.reshape(batch, length, heads, head_dim), 0)
