"""What the layers of a transformer get beside the states: keys of dropout, windows, rotations, segments."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jaxssl.models.rotary import rotary_angles

if TYPE_CHECKING:
    from jaxssl.models.transformer import Transformer

Ids = Int[Array, "batch length"]


class EachLayer(NamedTuple):
    """What differs from layer to layer beside the parameters; None where nothing does."""

    keys: Array | None  # [layers, 3]: attention weights, after attention, after feed-forward
    window: Int[Array, "layers"] | None
    local: Array | None  # bool [layers]: takes the local rotary base
    raw_input: Array | None  # bool [layers]: attention reads the stream without a norm


class EveryLayer(NamedTuple):
    """What all layers share."""

    segments: Ids
    rotation: Array | None  # cosine and sine [2, bases, batch, length, head_dim / 2], global first
    prefix: Bool[Array, "batch length"] | None = None  # seen by all of their segment, if causal


def turn(config: "Transformer", positions: Ids) -> Array | None:
    """`EveryLayer.rotation`: of the global base and, if there is one, of the local base."""
    if config.positions != "rotary":
        return None
    bases = [config.rotary_base]
    if config.rotary_base_local is not None and any(config.local_layers):
        bases.append(config.rotary_base_local)
    angles = jnp.stack([rotary_angles(positions, config.head_dim, base) for base in bases])
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)])


def each_layer(config: "Transformer", key: Array | None) -> EachLayer:
    """The per-layer inputs of the scan."""
    local = jnp.array(config.local_layers)
    windowed = any(config.local_layers)
    two_bases = windowed and config.positions == "rotary" and config.rotary_base_local is not None
    skips_norm = config.norm_first and not config.norm_before_first
    return EachLayer(
        keys=None if key is None else jax.random.split(key, (config.depth, 3)),
        window=jnp.where(local, config.window or 0, config.max_length) if windowed else None,
        local=local if two_bases else None,
        raw_input=jnp.arange(config.depth) == 0 if skips_norm else None,
    )
