"""The layers of a transformer: attention and a feed-forward part, each added to the residual stream.

states                [batch, length, width]
tokens and segments   int32 [batch, length]      segment 0 is padding
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.layers.attention import attention
from jaxssl.models.layers.dense import FeedForward, LayerNorm, Linear, RMSNorm, make_norm
from jaxssl.models.layers.dropout import dropout
from jaxssl.models.layers.remat import kept
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.transformer_inputs import Ids, PerLayerInputs, Rows, SharedLayerInputs
from jaxssl.sharding.layout import Table, constrain

# Logical axes of the parameters of stacked layers; `cross` is of a decoder's (encoder_decoder.py).
LAYER_LAYOUT: Table = (
    (r"(attention_norm|cross_norm|mlp_norm)/(scale|bias)", ("layers", None)),
    (r"(attention|cross)/query/kernel", ("layers", "embed", "heads")),
    (r"(attention|cross)/query/bias", ("layers", "heads")),
    (r"(attention|cross)/(key|value)/kernel", ("layers", "embed", "kv_heads")),
    (r"(attention|cross)/(key|value)/bias", ("layers", "kv_heads")),
    (r"(attention|cross)/(query_norm|key_norm)/(scale|bias)", ("layers", None)),
    (r"(attention|cross)/output/kernel", ("layers", "heads", "embed")),
    (r"mlp/(up|gate)/kernel", ("layers", "embed", "mlp")),
    (r"mlp/(up|gate)/bias", ("layers", "mlp")),
    (r"mlp/down/kernel", ("layers", "mlp", "embed")),
    (r"((attention|cross)/output|mlp/down)/bias", ("layers", None)),
)


class Attention(nnx.Module):
    """Multi-head attention of a sequence to itself or to another, with its four kernels.

    Args:
      config: Configuration of the network.
      key: Random key of the initial kernels.
    """

    def __init__(self, config: TransformerConfig, key: Array):
        keys = jax.random.split(key, 4)
        self.config = config
        inner = config.heads * config.head_dim
        kv_inner = (config.kv_heads or config.heads) * config.head_dim
        sd, bias = config.initializer_range, config.bias
        own = bias if config.qkv_bias is None else config.qkv_bias
        self.query = Linear(keys[0], config.width, inner, stddev=sd, bias=own)
        self.key = Linear(keys[1], config.width, kv_inner, stddev=sd, bias=own)
        self.value = Linear(keys[2], config.width, kv_inner, stddev=sd, bias=own)
        self.output = Linear(keys[3], inner, config.width, stddev=config.residual_stddev, bias=bias)
        self.query_norm = make_norm_for(config, config.head_dim) if config.qk_norm else None
        self.key_norm = make_norm_for(config, config.head_dim) if config.qk_norm else None

    def __call__(self, x: Rows, own: PerLayerInputs, shared: SharedLayerInputs) -> Rows:
        """Computes attention of a sequence to itself.

        Args:
          x: States, `[batch, length, width]`.
          own: What this layer reads beside them.
          shared: What all layers read beside them.

        Returns:
          What is to be added to the stream, `[batch, length, width]`.
        """
        queries, (keys, values) = self.queries_of(x), self.keys_and_values_of(x)
        rotation = shared.rotation
        if rotation is not None and own.local is not None:
            rotation = rotation._replace(is_local=own.local)
        mixed = attention(
            _kept_heads(queries),
            _kept_heads(keys),
            _kept_heads(values),
            shared.segments,
            causal=self.config.causal,
            prefix=shared.prefix,
            window=own.window,
            scale=self.config.attention_scale,
            biases=shared.biases,
            dropout_rate=self.config.attention_rate,
            key=None if own.keys is None else own.keys[0],
            rotation=rotation,
            implementation=self.config.attention,
        )
        return self.output(mixed.reshape(*x.shape[:2], -1))

    def across(
        self, x: Rows, segments: Ids, others: Rows, other_segments: Ids, key: Array | None
    ) -> Rows:
        """Computes cross-attention: each document attends to the one of the same number in another sequence.

        Args:
          x: States of the queries, `[batch, length, width]`.
          segments: Document numbers of the queries, `[batch, length]`.
          others: States of the keys and values, `[batch, other_length, width]`.
          other_segments: Their document numbers, `[batch, other_length]`.
          key: Random key of dropout on the weights. `None`: no dropout.

        Returns:
          What is to be added to the stream, `[batch, length, width]`.
        """
        queries, (keys, values) = self.queries_of(x), self.keys_and_values_of(others)
        mixed = attention(
            _kept_heads(queries),
            _kept_heads(keys),
            _kept_heads(values),
            segments,
            key_segments=other_segments,
            scale=self.config.attention_scale,
            dropout_rate=self.config.attention_rate,
            key=key,
            implementation=self.config.attention,
        )
        return self.output(mixed.reshape(*x.shape[:2], -1))

    def queries_of(self, x: Rows) -> Float[Array, "batch length heads head_dim"]:
        """Computes the queries of states `x` `[batch, length, width]`: `[batch, length, heads, head_dim]`."""
        queries = self._split(self.query(x))
        return queries if self.query_norm is None else self.query_norm(queries)

    def keys_and_values_of(
        self, x: Rows
    ) -> tuple[
        Float[Array, "batch length kv_heads head_dim"],
        Float[Array, "batch length kv_heads head_dim"],
    ]:
        """Computes the keys and values of states, before rotary positions.

        Args:
          x: States, `[batch, length, width]`.

        Returns:
          Keys and values, `[batch, length, kv_heads, head_dim]` each.
        """
        keys, values = self._split(self.key(x)), self._split(self.value(x))
        return keys if self.key_norm is None else self.key_norm(keys), values

    def _split(self, y: Array) -> Array:
        return y.reshape(*y.shape[:2], -1, self.config.head_dim)


def _kept_heads(x: Array) -> Array:
    """Marks queries, keys or values `[batch, length, heads, head_dim]` as kept for the backward pass."""
    # Heads side by side: TPUs pad a last axis of 64 numbers to 128.
    return kept(x.reshape(*x.shape[:2], -1)).reshape(x.shape)


class Layer(nnx.Module):
    """A layer: attention, then feed-forward, each added to the residual stream.

    Args:
      config: Configuration of the network.
      key: Random key of the initial parameters.
    """

    layout = LAYER_LAYOUT

    def __init__(self, config: TransformerConfig, key: Array):
        first, second = jax.random.split(key)
        self.config = config
        self.attention = Attention(config, first)
        self.attention_norm = make_norm_for(config)
        self.mlp = make_feed_forward_for(config, second)
        self.mlp_norm = make_norm_for(config)

    def __call__(self, x: Rows, own: PerLayerInputs, shared: SharedLayerInputs) -> Rows:
        """Computes the next states.

        Args:
          x: States, `[batch, length, width]`.
          own: What this layer reads beside them.
          shared: What all layers read beside them.

        Returns:
          States, `[batch, length, width]`.
        """
        return self.with_feed_forward(x, own, shared)[0]

    def with_feed_forward(
        self, x: Rows, own: PerLayerInputs, shared: SharedLayerInputs
    ) -> tuple[Rows, Rows]:
        """Computes the next states, and beside them the output of the feed-forward part.

        Args:
          x: States, `[batch, length, width]`.
          own: What this layer reads beside them.
          shared: What all layers read beside them.

        Returns:
          States, and what the feed-forward part adds to the stream, before dropout, the residual and a
          norm behind it; both `[batch, length, width]`.
        """
        _, after_attention, after_mlp = (None,) * 3 if own.keys is None else own.keys

        def norm(x: Rows) -> Rows:
            return self.normed_for_attention(x, own)

        def attend(x: Rows) -> Rows:
            return self.attention(x, own, shared)

        x, _ = add_part(self.config, x, attend, norm, after_attention)
        return add_part(self.config, x, self.mlp, self.mlp_norm, after_mlp)

    def normed_for_attention(self, x: Rows, own: PerLayerInputs) -> Rows:
        """Applies the norm of attention to states, unless this is a layer without one.

        Args:
          x: States, `[batch, length, width]`.
          own: What this layer reads beside them; `raw_input` says whether it has no norm.

        Returns:
          States, `[batch, length, width]`.
        """
        normed = self.attention_norm(x)
        return normed if own.raw_input is None else jnp.where(own.raw_input, x, normed)


def add_part(
    config: TransformerConfig,
    x: Rows,
    part: Callable[[Rows], Rows],
    norm: Callable[[Rows], Rows],
    key: Array | None,
) -> tuple[Rows, Rows]:
    """Adds a part of a layer to the stream: x + part(norm(x)) with `norm_first`, else norm(x + part(x)).

    Args:
      config: Configuration of the network.
      x: States, `[batch, length, width]`.
      part: Attention or feed-forward.
      norm: The norm of that part.
      key: Random key of the dropout behind the part. `None`: no dropout.

    Returns:
      States, and the part's output before dropout, `[batch, length, width]` each.
    """
    if config.sequence_parallel:
        x, part = shard_stream(config, x), with_gathered_states(config, part)
    output = part(kept(norm(x)) if config.norm_first else x)
    added = kept(x + dropout(output, config.dropout, key))
    return added if config.norm_first else kept(norm(added)), output


def shard_stream(config: TransformerConfig, x: Rows) -> Rows:
    """Shards the states between parts of layers: by rows and, with `sequence_parallel`, by length.

    Sharded by length over the mesh axis `tensor`, none of its devices keeps all positions of every
    layer's input.

    Args:
      config: Configuration of the network.
      x: States, `[batch, length, width]`.

    Returns:
      The same states.

    References:
      Korthikanti et al. 2022, "Reducing activation recomputation in large transformer models", section 4.2.2.
    """
    return constrain(x, "batch", "length" if config.sequence_parallel else None, None)


def with_gathered_states(
    config: TransformerConfig, part: Callable[[Rows], Rows]
) -> Callable[[Rows], Rows]:
    """Wraps a part of a layer for states that are sharded by length (`shard_stream`).

    Args:
      config: Configuration of the network.
      part: Function of states `[batch, length, width]`.

    Returns:
      The part, which gathers the length of what it reads and scatters that of what it returns.
    """
    return lambda x: shard_stream(config, part(constrain(x, "batch", None, None)))


def make_norm_for(config: TransformerConfig, width: int | None = None) -> LayerNorm | RMSNorm:
    """Makes a norm as `config` describes it, over `width` numbers (None: those of the states)."""
    width = config.width if width is None else width
    return make_norm(config.norm, width, epsilon=config.norm_epsilon, bias=config.bias)


def make_feed_forward_for(config: TransformerConfig, key: Array) -> FeedForward:
    """Makes a feed-forward part as `config` describes it, with parameters drawn from `key`."""
    return FeedForward(
        key,
        config.width,
        config.inner,
        activation=config.activation,
        bias=config.bias,
        stddev=config.initializer_range,
        out_stddev=config.residual_stddev,
    )


def finish(config: TransformerConfig, final_norm: LayerNorm | RMSNorm | None, x: Rows) -> Rows:
    """Makes what a network returns of the states of its last layer.

    Args:
      config: Configuration of the network.
      final_norm: Its norm behind the last layer, or `None`.
      x: States, `[batch, length, width]`.
    """
    x = x if final_norm is None else final_norm(x)
    return x if config.output_scale == 1 else x * config.output_scale
