"""The layers of a transformer over states that all see each other, such as the patches of an image."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.layers.short_rows import pack_rows, unpack_rows
from jaxssl.models.layers.stack import run_layers, scan_layers, stack_layers
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.transformer_inputs import PerLayerInputs, SharedLayerInputs, per_layer_inputs
from jaxssl.models.transformer_layers import Layer, make_norm_for, shard_stream

States = Float[Array, "batch positions width"]


class Blocks(nnx.Module):
    """Layers of a transformer over states that all see each other, and the final norm.

    Args:
      config: Configuration of the layers.
      key: Random key of the initial parameters.
    """

    layout = ((r"final_norm/(scale|bias)", (None,)),)

    def __init__(self, config: TransformerConfig, key: Array):
        self.config = config
        self.layers = stack_layers(lambda one: Layer(config, one), key, config.depth)
        self.final_norm = make_norm_for(config) if config.final_norm else None

    def __call__(self, x: States, key: Array | None = None) -> States:
        """Runs states `x` `[batch, positions, width]` through the layers and the final norm.

        The result is in `compute_dtype`. `key` is that of dropout; `None`: no dropout.
        """
        rate = max(self.config.dropout, self.config.attention_rate)
        rows, segments = pack_rows(x, dropped=key is not None and rate > 0)
        shared, per_layer = SharedLayerInputs(segments, None), per_layer_inputs(self.config, key)

        def apply(layer: Layer, x: States, own: PerLayerInputs) -> States:
            return layer(shard_stream(self.config, x), own, shared)

        rows = rows.astype(self.config.compute_dtype)
        rows = run_layers(self.layers, rows, per_layer, apply, **self.config.layer_loop)
        rows = rows if self.final_norm is None else self.final_norm(rows)
        return unpack_rows(rows, *x.shape[:2])

    def hidden_states(
        self, x: States, key: Array | None = None
    ) -> Float[Array, "states batch positions width"]:
        """Computes `x` and the states after every layer, before the final norm.

        Args:
          x: States that the first layer reads, `[batch, positions, width]`.
          key: Random key of dropout. `None`: no dropout.

        Returns:
          States `[layers + 1, batch, positions, width]` in `compute_dtype`.
        """
        shared = SharedLayerInputs(jnp.ones(x.shape[:2], jnp.int32), None)
        per_layer = per_layer_inputs(self.config, key)

        def apply(layer: Layer, x: States, own: PerLayerInputs) -> tuple[States, States]:
            x = shard_stream(self.config, layer(shard_stream(self.config, x), own, shared))
            return x, x

        x = x.astype(self.config.compute_dtype)
        _, states = scan_layers(self.layers, x, per_layer, apply, **self.config.layer_loop)
        return jnp.concatenate([shard_stream(self.config, x)[None], states])
