"""A vision transformer that sees some patches, and a light one behind it that tells the pixels of all.

    seen patches -> encoder -> dense -> mask tokens where none was seen, positions -> blocks -> pixels

He et al. 2022, "Masked autoencoders are scalable vision learners", section 3. Class token and registers go
through both. Only the encoder is used after training.

    places   patches of an image, row by row      numbers   pixels of a patch x channels
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.layers.dense import Linear
from jaxssl.models.layers.patches import sine_positions
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.vision_transformer import Blocks, States, VisionTransformerConfig


class MaskedPatchModel(nnx.Module):
    """Encoder and decoder, the dense layers into and out of the decoder, and its mask token."""

    # The lines of the encoder and of the blocks are in vision_transformer.py and transformer.py.
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
        """So many mask tokens for every row of `like`, in its type."""
        batch, _, width = like.shape
        return jnp.broadcast_to(self.mask[...][None], (batch, count, width)).astype(like.dtype)

    def decode(
        self, first: States, places: States, rows: int, columns: int, key: Array | None = None
    ) -> Float[Array, "batch places numbers"]:
        """The pixels of all patches, from their states or mask tokens; `first` are the states before them."""
        positions = sine_positions(rows, columns, places.shape[-1])
        placed = places + positions[None].astype(places.dtype)
        states = self.decoder(jnp.concatenate([first, placed], axis=1), key)
        return self.patches(states[:, first.shape[1] :]).astype(jnp.float32)
