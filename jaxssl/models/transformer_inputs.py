"""What a transformer's layers read: embedded tokens, positions, and inputs that are a layer's own or shared.

states                [batch, length, width]
tokens and segments   int32 [batch, length]      segment 0 is padding
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.models.layers.dense import Embedding
from jaxssl.models.layers.relative_positions import RelativeBiases
from jaxssl.models.layers.rotary import Rotation, make_rotation
from jaxssl.models.transformer_config import TransformerConfig

Rows = Float[Array, "batch length width"]
Ids = Int[Array, "batch length"]


class PerLayerInputs(NamedTuple):
    """What layers read beside states and parameters, with a leading axis of layers.

    Fields are None where layers do not differ. In the scan over layers a layer gets its own entry of each.
    """

    keys: Array | None
    """Keys of dropout, `[layers, 3]`: of attention weights, behind attention, behind feed-forward. None: no
    dropout."""
    window: Int[Array, "layers"] | None
    """Positions on either side that attention sees. None: all layers see all positions."""
    local: Bool[Array, "layers"] | None
    """Whether a layer takes the local rotary base. None: there is one base."""
    raw_input: Bool[Array, "layers"] | None
    """Whether a layer's attention reads states that are not normalised. None: no layer's does."""


class SharedLayerInputs(NamedTuple):
    """What all layers read beside states and parameters."""

    segments: Ids
    """Document number of every position, `[batch, length]`; 0 is padding."""
    rotation: Rotation | None
    """Rotary positions. None: positions are not rotary."""
    prefix: Bool[Array, "batch length"] | None = None
    """Positions of a causal network that all of their document see. None: there are none."""
    biases: Float[Array, "heads length length"] | None = None
    """Biases of the scores of self-attention, `[heads, length, length]`. None: positions are not relative."""


def rotary_positions(config: TransformerConfig, positions: Ids) -> Rotation | None:
    """Computes rotary positions, for the global and, if it differs, the local base.

    Args:
      config: Configuration of the network.
      positions: Positions within documents, `[batch, length]`.

    Returns:
      `SharedLayerInputs.rotation`; `None` without rotary positions.
    """
    if config.positions != "rotary":
        return None
    bases: tuple[float, ...] = (config.rotary_base,)
    if config.rotary_base_local is not None and any(config.local_layers):
        bases = (config.rotary_base, config.rotary_base_local)
    return make_rotation(positions, config.head_dim, bases, config.rotary_scaling)


def make_relative_biases(config: TransformerConfig, key: Array) -> RelativeBiases | None:
    """Makes the table of relative positions as `config` describes it, or none, drawn from `key`."""
    if config.positions != "relative":
        return None
    return RelativeBiases(
        key,
        config.heads,
        buckets=config.relative_buckets,
        longest=config.relative_distance,
        causal=config.causal,
        stddev=config.initializer_range,
    )


def make_position_table(config: TransformerConfig, key: Array, width: int) -> Embedding | None:
    """Makes the table of learned positions as `config` describes it, or none.

    Args:
      config: Configuration of the network.
      key: Random key of the table.
      width: Width of a row.

    Returns:
      The table, `[position_offset + max_length, width]`; `None` without learned positions.
    """
    if config.positions != "learned":
        return None
    size = config.position_offset + config.max_length
    return Embedding(key, size, width, stddev=config.initializer_range)


def embed_tokens(config: TransformerConfig, table: Embedding, tokens: Ids) -> Rows:
    """Looks up `tokens` `[batch, length]` in a `table`, times the `embedding_scale` of `config`."""
    x = table(tokens, "vocab")
    return x if config.embedding_scale == 1 else x * config.embedding_scale


def add_positions(
    config: TransformerConfig, x: Rows, table: Embedding | None, positions: Ids
) -> Rows:
    """Adds the rows of a `table` of learned positions to `x` `[batch, length, width]`.

    Args:
      config: Configuration of the network.
      x: Embedded tokens, `[batch, length, width]`.
      table: Table of positions; `None`: nothing is added.
      positions: Positions within documents, `[batch, length]`.
    """
    if table is None:
        return x
    return x + table(positions + config.position_offset if config.position_offset else positions)


def shared_inputs(
    config: TransformerConfig,
    segments: Ids,
    positions: Ids,
    relative: RelativeBiases | None,
    prefix: Bool[Array, "batch length"] | None = None,
) -> SharedLayerInputs:
    """Makes what all layers read.

    Args:
      config: Configuration of the network.
      segments: Document number of every position, `[batch, length]`.
      positions: Positions within documents, `[batch, length]`.
      relative: Table of relative positions, or `None`.
      prefix: Positions of a causal network that all of their document see, `[batch, length]`, or `None`.
    """
    indices = jnp.arange(segments.shape[1])
    biases = None if relative is None else relative(indices, indices)
    return SharedLayerInputs(segments, rotary_positions(config, positions), prefix, biases)


def per_layer_inputs(config: TransformerConfig, key: Array | None) -> PerLayerInputs:
    """Makes what layers read each for itself, from a `config` and the `key` of dropout (None: none)."""
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
