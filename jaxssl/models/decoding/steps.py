"""Runs a decoder over prompts, and then token by token with a cache; the states are those of a whole row.

    states, cache = read(network, layers, embedded prompts, lengths, capacity)
    states, cache = advance(network, layers, embedded tokens, cache)          as often as there is capacity

Layers run one after another, without a loop, and each has arrays of its own: a loop over stacked layers would
copy all kernels of a layer before it reads them, and for one position a step does little else than to read.

batch      rows                        length     tokens of the longest prompt
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.models.decoding.cache import Cache, LayerCache
from jaxssl.models.encoder_decoder import Decoder, DecoderLayer, Memory
from jaxssl.models.layers.attention import attention
from jaxssl.models.layers.dense import with_kernels_in
from jaxssl.models.layers.rotary import Rotation, rotate_both
from jaxssl.models.transformer import Transformer
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.transformer_inputs import (
    PerLayerInputs,
    Rows,
    per_layer_inputs,
    rotary_positions,
    shared_inputs,
)
from jaxssl.models.transformer_layers import Layer, add_part, finish

Network = Transformer | Decoder
Layers = tuple[Layer | DecoderLayer, ...]
States = Float[Array, "batch width"]


class _Heads(NamedTuple):
    """Queries, keys and values of a layer, `[batch, length, heads, head_dim]`, after rotary positions."""

    queries: Array
    keys: Array
    values: Array


def unstacked(network: Network) -> Layers:
    """Returns the layers of a `network`, each with arrays of its own in the type that it computes in."""
    config = network.config
    layers = with_kernels_in(network.layers, config.compute_dtype)
    return tuple(jax.tree.map(lambda x, i=i: x[i], layers) for i in range(config.depth))


def read(
    network: Network,
    layers: Layers,
    x: Rows,
    lengths: Int[Array, " batch"],
    capacity: int,
    *,
    prefix: bool = False,
    memory: Memory | None = None,
) -> tuple[States, Cache]:
    """Reads prompts.

    Args:
      network: A causal `Transformer`, or the `Decoder` of an encoder-decoder.
      layers: Its layers, as `unstacked` returns them.
      x: Embedded tokens, `[batch, length, width]`, with padding behind the shorter prompts.
      lengths: Tokens of each prompt, at least 1, `[batch]`.
      capacity: Slots of the cache, at least `length`.
      prefix: Whether all tokens of a prompt see each other (prefix LM).
      memory: What a `Decoder` attends to.

    Returns:
      The state at the last token of each prompt, `[batch, width]`, and the cache of all.
    """
    config = network.config
    positions = jnp.broadcast_to(jnp.arange(x.shape[1])[None], x.shape[:2])
    segments = (positions < lengths[:, None]).astype(jnp.int32)
    is_prefix = segments != 0 if prefix else None
    shared = shared_inputs(config, segments, positions, network.relative_biases, is_prefix)
    caches, memories = [], []
    for layer, own in zip(layers, _own_inputs(config), strict=True):
        heads = _heads(layer, x, own, shared.rotation)
        mixed = attention(
            *heads,
            segments,
            causal=True,
            prefix=shared.prefix,
            window=own.window,
            scale=config.attention_scale,
            biases=shared.biases,
            implementation=config.attention,
        )
        across = None
        if isinstance(layer, DecoderLayer) and memory is not None:
            across = layer.cross.keys_and_values_of(memory.states.astype(x.dtype))
            memories.append(across)
        segments_of_memory = None if memory is None else memory.segments
        x = _rest_of_layer(layer, x, own, mixed, across, segments_of_memory)
        caches.append(LayerCache.of(heads.keys, heads.values, capacity))
    last = jnp.take_along_axis(x, lengths[:, None, None] - 1, axis=1)
    cache = Cache(
        tuple(caches), lengths, tuple(memories), None if memory is None else memory.segments
    )
    return finish(config, network.final_norm, last)[:, 0], cache


def advance(network: Network, layers: Layers, x: Rows, cache: Cache) -> tuple[States, Cache]:
    """Reads one more token of every row.

    Args:
      network: The network.
      layers: Its layers.
      x: Embedded tokens, `[batch, 1, width]`.
      cache: What was read before, with room for a token.

    Returns:
      The states of the tokens, `[batch, width]`, and the cache with them.
    """
    config = network.config
    positions = cache.lengths[:, None]
    rotation = rotary_positions(config, positions)
    biases = _biases(network, positions, cache.capacity)
    caches = []
    memories = cache.memory or (None,) * len(layers)
    for layer, own, old, across in zip(
        layers, _own_inputs(config), cache.layers, memories, strict=True
    ):
        heads = _heads(layer, x, own, rotation)
        mixed = old.attend(
            *heads,
            cache.lengths,
            scale=config.attention_scale,
            window=own.window,
            biases=biases,
        )
        caches.append(old.written(heads.keys, heads.values, cache.lengths))
        x = _rest_of_layer(layer, x, own, mixed, across, cache.memory_segments)
    cache = cache._replace(layers=tuple(caches), lengths=cache.lengths + 1)
    return finish(config, network.final_norm, x)[:, 0], cache


def _own_inputs(config: TransformerConfig) -> list[PerLayerInputs]:
    """What each layer reads for itself."""
    every = per_layer_inputs(config, None)
    return [jax.tree.map(lambda x, i=i: x[i], every) for i in range(config.depth)]


def _heads(
    layer: Layer | DecoderLayer, x: Rows, own: PerLayerInputs, rotation: Rotation | None
) -> _Heads:
    source = _norm(layer, own)(x) if layer.config.norm_first else x
    queries, (keys, values) = (
        layer.attention.queries_of(source),
        layer.attention.keys_and_values_of(source),
    )
    if rotation is not None:
        if own.local is not None:
            rotation = rotation._replace(is_local=own.local)
        queries, keys = rotate_both(queries, keys, rotation)
    return _Heads(queries, keys, values)


def _norm(layer: Layer | DecoderLayer, own: PerLayerInputs) -> Any:
    """The norm of a layer's self-attention."""
    if isinstance(layer, DecoderLayer):
        return layer.attention_norm
    return lambda x: layer.normed_for_attention(x, own)


def _rest_of_layer(
    layer: Layer | DecoderLayer,
    x: Rows,
    own: PerLayerInputs,
    mixed: Array,
    across: tuple[Array, Array] | None,
    memory_segments: Array | None,
) -> Rows:
    """Adds to the states what self-attention has mixed, and the other parts of the layer."""
    config = layer.config
    x = x + layer.attention.output(mixed.reshape(*x.shape[:2], -1))
    x = x if config.norm_first else _norm(layer, own)(x)
    if isinstance(layer, DecoderLayer) and across is not None:

        def cross(x: Rows) -> Rows:
            mixed = attention(
                layer.cross.queries_of(x),
                *across,
                jnp.ones(x.shape[:2], jnp.int32),
                key_segments=memory_segments,
                scale=config.attention_scale,
                implementation=config.attention,
            )
            return layer.cross.output(mixed.reshape(*x.shape[:2], -1))

        x, _ = add_part(config, x, cross, layer.cross_norm, None)
    return add_part(config, x, layer.mlp, layer.mlp_norm, None)[0]


def _biases(
    network: Network, positions: Int[Array, "batch 1"], capacity: int
) -> Float[Array, "batch heads slots"] | None:
    """Biases of the scores of new positions: to all slots, and to themselves."""
    if network.relative_biases is None:
        return None
    slots = jnp.broadcast_to(jnp.arange(capacity)[None], (len(positions), capacity))
    keys = jnp.concatenate([slots, positions], axis=1)
    return network.relative_biases(positions, keys)[:, :, 0]
