"""The layers of a transformer: attention and feed-forward, each added to the stream.

Shapes: states [batch, length, width]; tokens and segments int32 [batch, length], segment 0 is padding.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from jaxssl.models.layers.attention import attention
from jaxssl.models.layers.dense import FeedForward, LayerNorm, Linear, RMSNorm, make_norm
from jaxssl.models.layers.dropout import dropout
from jaxssl.models.layers.rotary import rotary_angles, rotate
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.sharding.layout import Table, constrain

Rows = Float[Array, "batch length width"]
Ids = Int[Array, "batch length"]

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


class PerLayerInputs(NamedTuple):
    """What differs from layer to layer beside the parameters; None where nothing does."""

    keys: Array | None  # [layers, 3]: attention weights, after attention, after feed-forward
    window: Int[Array, "layers"] | None
    local: Array | None  # bool [layers]: takes the local rotary base
    raw_input: Array | None  # bool [layers]: attention reads the stream without a norm


class SharedLayerInputs(NamedTuple):
    """What all layers share."""

    segments: Ids
    rotation: Array | None  # cosine and sine [2, bases, batch, length, head_dim / 2], global first
    prefix: Bool[Array, "batch length"] | None = None  # seen by all of their segment, if causal


def rotary_tables(config: TransformerConfig, positions: Ids) -> Array | None:
    """`SharedLayerInputs.rotation`: of the global base and, if there is one, of the local base."""
    if config.positions != "rotary":
        return None
    bases = [config.rotary_base]
    if config.rotary_base_local is not None and any(config.local_layers):
        bases.append(config.rotary_base_local)
    angles = jnp.stack([rotary_angles(positions, config.head_dim, base) for base in bases])
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)])


def per_layer_inputs(config: TransformerConfig, key: Array | None) -> PerLayerInputs:
    """The per-layer inputs of the scan."""
    local = jnp.array(config.local_layers)
    windowed = any(config.local_layers)
    # The window of global layers: no row is longer, unless it may be of any length.
    everywhere = jnp.iinfo(jnp.int32).max if config.longer_rows else config.max_length
    two_bases = windowed and config.positions == "rotary" and config.rotary_base_local is not None
    skips_norm = config.norm_first and not config.norm_before_first
    return PerLayerInputs(
        keys=None if key is None else jax.random.split(key, (config.depth, 3)),
        window=jnp.where(local, config.window or 0, everywhere) if windowed else None,
        local=local if two_bases else None,
        raw_input=jnp.arange(config.depth) == 0 if skips_norm else None,
    )


class Attention(nnx.Module):
    """Attention of a sequence to itself or to another, with its four kernels."""

    def __init__(self, config: TransformerConfig, key: Array):
        keys = jax.random.split(key, 4)
        self.config = config
        inner = config.heads * config.head_dim
        kv_inner = (config.kv_heads or config.heads) * config.head_dim
        sd, bias = config.initializer_range, config.bias
        self.query = Linear(keys[0], config.width, inner, stddev=sd, bias=bias)
        self.key = Linear(keys[1], config.width, kv_inner, stddev=sd, bias=bias)
        self.value = Linear(keys[2], config.width, kv_inner, stddev=sd, bias=bias)
        self.output = Linear(keys[3], inner, config.width, stddev=config.residual_stddev, bias=bias)
        self.query_norm = make_norm_for(config, config.head_dim) if config.qk_norm else None
        self.key_norm = make_norm_for(config, config.head_dim) if config.qk_norm else None

    def __call__(self, x: Rows, each: PerLayerInputs, every: SharedLayerInputs) -> Rows:
        """To itself."""
        queries, keys, values = self._heads(x, x)
        if every.rotation is not None:
            cosine, sine = every.rotation[:, 0]
            if each.local is not None:
                cosine, sine = jnp.where(each.local, every.rotation[:, 1], every.rotation[:, 0])
            queries, keys = rotate(queries, cosine, sine), rotate(keys, cosine, sine)
        mixed = attention(
            queries,
            keys,
            values,
            every.segments,
            causal=self.config.causal,
            prefix=every.prefix,
            window=each.window,
            dropout_rate=self._rate,
            key=None if each.keys is None else each.keys[0],
            implementation=self.config.attention,
        )
        return self.output(mixed.reshape(*x.shape[:2], -1))

    def across(
        self, x: Rows, segments: Ids, others: Rows, other_segments: Ids, key: Array | None
    ) -> Rows:
        """To the states of another sequence, each segment to that of the same number."""
        mixed = attention(
            *self._heads(x, others),
            segments,
            key_segments=other_segments,
            dropout_rate=self._rate,
            key=key,
            implementation=self.config.attention,
        )
        return self.output(mixed.reshape(*x.shape[:2], -1))

    def _heads(self, x: Rows, source: Rows) -> tuple[Array, Array, Array]:
        """Queries of x, keys and values of the source: [batch, positions, heads, head_dim]."""

        def split(y: Array) -> Array:
            return y.reshape(*y.shape[:2], -1, self.config.head_dim)

        queries, keys, values = (
            split(self.query(x)),
            split(self.key(source)),
            split(self.value(source)),
        )
        if self.query_norm is not None and self.key_norm is not None:
            queries, keys = self.query_norm(queries), self.key_norm(keys)
        return queries, keys, values

    @property
    def _rate(self) -> float:
        own = self.config.attention_dropout
        return self.config.dropout if own is None else own


class Layer(nnx.Module):
    """Attention, then feed-forward, each added to the stream."""

    layout = LAYER_LAYOUT

    def __init__(self, config: TransformerConfig, key: Array):
        first, second = jax.random.split(key)
        self.config = config
        self.attention = Attention(config, first)
        self.attention_norm = make_norm_for(config)
        self.mlp = make_feed_forward_for(config, second)
        self.mlp_norm = make_norm_for(config)

    def __call__(self, x: Rows, each: PerLayerInputs, every: SharedLayerInputs) -> Rows:
        _, after_attention, after_mlp = (None,) * 3 if each.keys is None else each.keys

        def norm(x: Rows) -> Rows:
            normed = self.attention_norm(x)
            return normed if each.raw_input is None else jnp.where(each.raw_input, x, normed)

        def attend(x: Rows) -> Rows:
            return self.attention(x, each, every)

        x = add_part(self.config, x, attend, norm, after_attention)
        return add_part(self.config, x, self.mlp, self.mlp_norm, after_mlp)


def add_part(
    config: TransformerConfig,
    x: Rows,
    part: Callable[[Rows], Rows],
    norm: Callable[[Rows], Rows],
    key: Array | None,
) -> Rows:
    """x + part(norm(x)), or norm(x + part(x)); with dropout behind the part."""
    if config.sequence_parallel:
        x, part = stream(config, x), gathered(config, part)
    if config.norm_first:
        return x + dropout(part(norm(x)), config.dropout, key)
    return norm(x + dropout(part(x), config.dropout, key))


def stream(config: TransformerConfig, x: Rows) -> Rows:
    """What lies between the parts of layers, cut by rows.

    With `sequence_parallel` by length over the tensor axis, too, so that none of its devices keeps all places
    of every layer's input (Korthikanti et al. 2022, "Reducing activation recomputation in large transformer
    models", section 4.2.2).
    """
    return constrain(x, "batch", "length" if config.sequence_parallel else None, None)


def gathered(config: TransformerConfig, part: Callable[[Rows], Rows]) -> Callable[[Rows], Rows]:
    """The part of a `stream`: it gathers what it reads and scatters what it gives."""
    return lambda x: stream(config, part(constrain(x, "batch", None, None)))


def make_norm_for(config: TransformerConfig, width: int | None = None) -> LayerNorm | RMSNorm:
    width = config.width if width is None else width
    return make_norm(config.norm, width, epsilon=config.norm_epsilon, bias=config.bias)


def make_feed_forward_for(config: TransformerConfig, key: Array) -> FeedForward:
    return FeedForward(
        key,
        config.width,
        config.inner,
        activation=config.activation,
        bias=config.bias,
        stddev=config.initializer_range,
        out_stddev=config.residual_stddev,
    )
