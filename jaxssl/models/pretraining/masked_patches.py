"""A vision transformer that reads visible patches, and a small one that predicts the pixels of all.

    visible patches -> encoder -> dense -> mask tokens for hidden patches, positions -> decoder -> pixels

Class token and registers go through both. Only the encoder is used after training.

    patches   of an image, row by row      numbers   pixels of a patch x channels

References: He et al. 2022, "Masked autoencoders are scalable vision learners", section 3.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.blocks import Blocks, States
from jaxssl.models.layers.dense import Linear
from jaxssl.models.layers.patches import sine_positions
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig


class MaskedPatchModel(nnx.Module):
    """Encoder and decoder, the dense layers into and out of the decoder, and its mask token.

    The decoder's positions are sines and cosines, whatever those of the encoder are.

    Args:
      key: Random key of the initial parameters.
      encoder: Configuration of the encoder.
      decoder: Configuration of the decoder's layers.
      channels: Channels of the images.
    """

    # The lines of the encoder and of the blocks are in vision_transformer.py and transformer_layers.py.
    layout = (
        (r"narrow/kernel", ("embed", None)),
        (r"narrow/bias", (None,)),
        (r"mask", (None, "embed")),
        (r"patches/kernel", ("embed", None)),
        (r"patches/bias", (None,)),
    )

    def __init__(
        self,
        key: Array,
        encoder: VisionTransformerConfig,
        decoder: TransformerConfig,
        channels: int,
    ):
        keys = jax.random.split(key, 5)
        width, sd = decoder.width, decoder.initializer_range
        self.encoder = encoder.make(keys[0], channels)
        self.narrow = Linear(keys[1], encoder.features, width, stddev=sd)
        self.mask = nnx.Param(sd * jax.random.normal(keys[2], (1, width)))
        self.decoder = Blocks(decoder, keys[3])
        self.patches = Linear(keys[4], width, encoder.patch**2 * channels, stddev=sd)

    def masks(self, like: States, count: int) -> States:
        """Returns `count` mask tokens for every row of `like` `[batch, positions, width]`, in its type."""
        batch, _, width = like.shape
        return jnp.broadcast_to(self.mask[...][None], (batch, count, width)).astype(like.dtype)

    def decode(
        self, first: States, patches: States, rows: int, columns: int, key: Array | None = None
    ) -> Float[Array, "batch patches numbers"]:
        """Predicts the pixels of all patches.

        Args:
          first: States of class token and registers, `[batch, first, width]` with the decoder's width.
          patches: States or mask tokens of all patches, row by row, `[batch, patches, width]`.
          rows: Rows of patches in an image.
          columns: Columns of patches in an image.
          key: Random key of dropout. `None`: no dropout.

        Returns:
          Pixels of every patch, float32 `[batch, patches, numbers]`.
        """
        positions = sine_positions(rows, columns, patches.shape[-1])
        placed = patches + positions[None].astype(patches.dtype)
        states = self.decoder(jnp.concatenate([first, placed], axis=1), key)
        return self.patches(states[:, first.shape[1] :]).astype(jnp.float32)
