"""Pooling by attention: one learned query reads the states of an image, and a feed-forward part follows.

    y = attention(query; states),   features = y + feed_forward(norm(y))

References: Lee et al. 2019, "Set transformer", section 3.2; Zhai et al. 2022, "Scaling vision transformers",
section 3.2 (MAP head), which SigLIP's networks have.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.transformer_layers import (
    LAYER_LAYOUT,
    Attention,
    make_feed_forward_for,
    make_norm_for,
)


class AttentionPooling(nnx.Module):
    """States of an image to its features, without dropout.

    Args:
      config: Configuration of the layers, whose heads, feed-forward part and norm the pooling has, too.
      key: Random key of the initial parameters.
    """

    # The lines of a layer's parts, which are not stacked here.
    layout = (
        (r"probe", (None, "embed")),
        *((pattern, axes[1:]) for pattern, axes in LAYER_LAYOUT),
    )

    def __init__(self, config: TransformerConfig, key: Array):
        probe, attention, mlp = jax.random.split(key, 3)
        sd = config.width**-0.5
        self.probe = nnx.Param(sd * jax.random.normal(probe, (1, config.width)))
        self.attention = Attention(config, attention)
        self.mlp_norm = make_norm_for(config)
        self.mlp = make_feed_forward_for(config, mlp)

    def __call__(
        self, states: Float[Array, "batch positions width"]
    ) -> Float[Array, "batch width"]:
        """Pools `states` `[batch, positions, width]`; the features `[batch, width]` are in their type."""
        batch, positions, width = states.shape
        probe = jnp.broadcast_to(self.probe[...][None], (batch, 1, width)).astype(states.dtype)
        one, others = (jnp.ones((batch, count), jnp.int32) for count in (1, positions))
        mixed = self.attention.across(probe, one, states, others, None)
        return (mixed + self.mlp(self.mlp_norm(mixed)))[:, 0]
