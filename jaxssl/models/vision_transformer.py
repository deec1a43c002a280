"""Vision transformer (Dosovitskiy et al. 2021): an image as a row of patches, through the layers of text.

    patches -> linear + positions -> [class token, registers,] patches [-> norm] -> layers -> norm

The variants of CLIP (a norm before the layers) and SigLIP (features by attention to the patches) are fields
of the configuration. Positions are sines and cosines of two axes (Chen, Xie & He 2021, MoCo v3; He et al.
2022, MAE), computed for the size at hand, or a learned table for one image size, which is interpolated for
others. Registers are tokens whose states nothing reads (Darcet et al. 2024).

    batch, height, width, channels    images          patches     of an image, row by row
    first    class token and registers                features    width of the states
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.errors import InputError, checked
from jaxssl.models.attention_pooling import AttentionPooling
from jaxssl.models.blocks import Blocks, States
from jaxssl.models.layers.attention_choice import platform_of_mesh
from jaxssl.models.layers.dense import Embedding, Linear
from jaxssl.models.layers.patches import (
    convolve_patches,
    resize_positions,
    sine_positions,
    split_patches,
)
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.transformer_layers import make_norm_for
from jaxssl.sharding.layout import constrain

# Above the number of keys of any jax.random.split of the same key: fold_in(key, i) can be its i-th key.
POSITIONS_KEY, HEAD_KEY = 1_000, 1_001


@dataclass(frozen=True)
@checked
class VisionTransformerConfig:
    """The shape of a vision transformer; `recipes.vit` has its usual blocks.

    Raises `InputError` for fields that no network can have.
    """

    blocks: TransformerConfig
    """The layers. `causal`, `window` and positions other than learned are refused; what tokens need is not
    read."""
    patch: int = 16
    """Side of a patch in pixels."""
    pooling: Literal["token", "mean", "attention"] = "token"
    """Features of an image: the state of a class token or, without one, the mean over the patches, or the
    attention of a learned query to them with a feed-forward part behind it (SigLIP)."""
    registers: int = 0
    """Number of learned tokens beside the patches whose states are not read (Darcet et al. 2024)."""
    positions: Literal["sine", "learned"] = "sine"
    """Positions of patches: sines and cosines of row and column (MoCo v3, MAE), or a learned table (ViT)."""
    positions_size: tuple[int, int] | None = None
    """Height and width in pixels of the images that learned positions are made for; they are interpolated
    for other sizes. None: positions are not learned."""
    token_position: bool = False
    """Add a learned position to the class token, too: the first row of the table (ViT, CLIP)."""
    patch_bias: bool = True
    """Whether the dense layer that embeds patches has a bias (not in CLIP)."""
    embedding_norm: bool = False
    """Normalise class token, registers and patches with their positions before the first layer (CLIP)."""

    def __post_init__(self) -> None:
        if self.patch < 1 or self.registers < 0:
            raise InputError(
                f"patch={self.patch} must be at least 1 and registers={self.registers} at least 0"
            )
        _check_positions(self)
        if self.blocks.output_scale != 1:
            raise InputError(
                f"blocks.output_scale={self.blocks.output_scale} scales what a vocabulary head reads, and "
                "there is none; leave it out of blocks"
            )
        if (
            self.blocks.causal
            or self.blocks.positions != "learned"
            or self.blocks.window is not None
        ):
            raise InputError(
                "patches see each other on all sides and have positions of their own: leave causal, "
                "window and positions out of blocks"
            )

    def make(self, key: Array, channels: int) -> "VisionTransformer":
        """Returns the network with parameters drawn from `key`, for images of `channels` channels."""
        return VisionTransformer(self, key, channels)

    @property
    def features(self) -> int:
        """Number of features of an image."""
        return self.blocks.width

    @property
    def stride(self) -> int:
        """Pixels of an image, along a side, to one position of its maps."""
        return self.patch

    @property
    def compute_dtype(self) -> str:
        """Type that states are computed in."""
        return self.blocks.compute_dtype

    @property
    def first(self) -> int:
        """Number of states before those of the patches: class token, if there is one, and registers."""
        return (self.pooling == "token") + self.registers

    @property
    def positions_grid(self) -> tuple[int, int]:
        """Rows and columns of patches that learned positions are made for; (0, 0) without them."""
        height, width = self.positions_size or (0, 0)
        return height // self.patch, width // self.patch


def check_reads_patches(encoder: Any) -> None:
    """Checks that all of an `encoder` is trained by an objective that reads the states of its patches.

    Raises:
      InputError: It is a vision transformer with `pooling="attention"`, whose head would never be trained.
    """
    if getattr(encoder, "pooling", "") == "attention":
        raise InputError(
            "encoder.pooling='attention' has a head that the states of patches do not train; set "
            "encoder.pooling to 'token' or 'mean'"
        )


def _check_positions(config: VisionTransformerConfig) -> None:
    size, patch, width = config.positions_size, config.patch, config.blocks.width
    if config.token_position and (config.positions, config.pooling) != ("learned", "token"):
        raise InputError(
            f"token_position=True needs a class token and a table of positions, and pooling="
            f"{config.pooling!r}, positions={config.positions!r}; set pooling to 'token' and positions to "
            "'learned', or token_position to False"
        )
    if config.positions == "sine":
        if width % 4:
            raise InputError(
                f"blocks.width={width} is no multiple of 4, and positions are sine and cosine of two axes; "
                f"set blocks.width to {-(-width // 4) * 4}, or positions to 'learned'"
            )
        if size is not None:
            raise InputError(
                f"positions_size={size} has no effect with positions='sine', which are computed for the "
                "size at hand; set positions to 'learned', or positions_size to None"
            )
        return
    if size is None:
        raise InputError(
            "positions='learned' needs the size of the images in pixels; set positions_size to "
            "(height, width), such as (224, 224)"
        )
    if min(size) < 1 or size[0] % patch or size[1] % patch:
        near = tuple(max(-(-side // patch), 1) * patch for side in size)
        raise InputError(
            f"positions_size={size} is not made of patches of {patch}x{patch}; set positions_size to {near}, "
            "or patch to a divisor of both sides"
        )


class VisionTransformer(nnx.Module):
    """Images to features: a plain pytree of float32 parameters, with `config` as static data.

    Args:
      config: Shape of the network.
      key: Random key of the initial parameters.
      channels: Channels of the images.
    """

    # The lines of the blocks are in transformer_layers.py.
    layout = (
        (r"embedding/kernel", (None, "embed")),
        (r"embedding/bias", (None,)),
        (r"positions/embedding", (None, "embed")),
        (r"token|registers", (None, "embed")),
        (r"embedding_norm/(scale|bias)", (None,)),
    )

    def __init__(self, config: VisionTransformerConfig, key: Array, channels: int):
        embedding, token, registers, blocks = jax.random.split(key, 4)
        width, sd = config.blocks.width, config.blocks.initializer_range
        inputs = config.patch**2 * channels
        self.config = config
        self.embedding = Linear(
            embedding, inputs, width, stddev=(1 / inputs) ** 0.5, bias=config.patch_bias
        )
        has_token = config.pooling == "token"
        self.token = nnx.Param(sd * jax.random.normal(token, (1, width))) if has_token else None
        self.registers = (
            nnx.Param(sd * jax.random.normal(registers, (config.registers, width)))
            if config.registers
            else None
        )
        own, (rows, columns) = jax.random.fold_in(key, POSITIONS_KEY), config.positions_grid
        learned, count = config.positions == "learned", rows * columns + config.token_position
        self.positions = Embedding(own, count, width, stddev=sd) if learned else None
        self.embedding_norm = make_norm_for(config.blocks) if config.embedding_norm else None
        self.blocks = Blocks(config.blocks, blocks)
        head = jax.random.fold_in(key, HEAD_KEY)
        has_head = config.pooling == "attention"
        self.head = AttentionPooling(config.blocks, head) if has_head else None

    def __call__(
        self,
        pixels: Float[Array, "batch height width channels"],
        *,
        key: Array | None = None,
        statistics: Any = None,
    ) -> tuple[Float[Array, "batch features"], Any]:
        """Computes the features of images.

        Args:
          pixels: Images, `[batch, height, width, channels]`.
          key: Random key of dropout. `None`: no dropout.
          statistics: Not read; residual networks have running statistics of batch norms here.

        Returns:
          Features, float32 `[batch, features]`, and `()`, since there are no batch norms.

        Raises:
          InputError: The patch does not divide the height or the width.
        """
        states = self.run(self.embed(pixels), key)
        if self.head is not None:
            return self.head(states[:, self.config.first :]).astype(jnp.float32), ()
        states = states.astype(jnp.float32)
        if self.config.pooling == "token":
            return states[:, 0], ()
        return states[:, self.config.first :].mean(axis=1), ()

    def maps(
        self,
        pixels: Float[Array, "batch height width channels"],
        *,
        key: Array | None = None,
        statistics: Any = None,
    ) -> tuple[Float[Array, "batch rows columns features"], Any]:
        """Computes the states of the patches, arranged as the patches are in the image.

        Args:
          pixels: Images, `[batch, height, width, channels]`.
          key: Random key of dropout. `None`: no dropout.
          statistics: Not read.

        Returns:
          States in `compute_dtype`, `[batch, rows, columns, features]`, and `()`.

        Raises:
          InputError: The patch does not divide the height or the width.
        """
        batch, height, width, _ = pixels.shape
        states = self.run(self.embed(pixels), key)[:, self.config.first :]
        return states.reshape(
            batch, height // self.config.patch, width // self.config.patch, -1
        ), ()

    def hidden_states(
        self, pixels: Float[Array, "batch height width channels"], *, key: Array | None = None
    ) -> Float[Array, "states batch positions width"]:
        """Computes the states before the first layer and after every layer.

        The positions are the class token (with `pooling="token"`), the registers and then the patches, row
        by row: `hidden_states(pixels)[:, :, config.first:]` are those of the patches. The final norm is in
        no entry, also not in the last (as in transformers' ViT, unlike its language models).

        Args:
          pixels: Images, `[batch, height, width, channels]`.
          key: Random key of dropout. `None`: no dropout.

        Returns:
          States `[layers + 1, batch, positions, width]` in `compute_dtype`.

        Raises:
          InputError: The patch does not divide the height or the width.
        """
        return self.blocks.hidden_states(self._with_first(self.embed(pixels)), key)

    def embed(self, pixels: Float[Array, "batch height width channels"]) -> States:
        """Embeds the patches of images and adds their positions.

        Args:
          pixels: Images, `[batch, height, width, channels]`.

        Returns:
          What `run` takes, `[batch, patches, features]` in `compute_dtype`.

        Raises:
          InputError: The patch does not divide the height or the width.
        """
        pixels = pixels.astype(self.config.compute_dtype)
        rows, columns = (side // self.config.patch for side in pixels.shape[1:3])
        positions = self._positions(rows, columns)
        if platform_of_mesh() == "cpu":
            patches = split_patches(pixels, self.config.patch)
            return self.embedding(patches) + positions[None].astype(patches.dtype)
        kernel, bias = self.embedding.kernel[...], self.embedding.bias
        added = positions if bias is None else bias[...][None] + positions
        pixels = constrain(pixels, "batch", None, None, None)
        states = convolve_patches(pixels, kernel.astype(pixels.dtype), self.config.patch)
        exact = states.astype(jnp.float32) + added[None]
        return constrain(exact.astype(pixels.dtype), "batch", None, None)

    def run(self, states: States, key: Array | None = None) -> States:
        """Puts class token and registers before states `[batch, patches, width]` and runs norm and blocks.

        `key` is that of dropout; `None`: no dropout. The result has `config.first` positions more.
        """
        return self.blocks(self._with_first(states), key)

    def first_statistics(self) -> Any:
        """Returns `()`: there are no batch norms."""
        return ()

    def _with_first(self, states: States) -> States:
        """Class token and registers, if there are any, before the states; normalised, if it is asked for."""
        batch = states.shape[0]
        first = [one[...] for one in (self.token, self.registers) if one is not None]
        if self.config.token_position and self.positions is not None:
            first[0] = first[0] + self.positions.embedding[:1]
        before = [
            jnp.broadcast_to(tokens[None], (batch, *tokens.shape)).astype(states.dtype)
            for tokens in first
        ]
        every = jnp.concatenate([*before, states], axis=1)
        return every if self.embedding_norm is None else self.embedding_norm(every)

    def _positions(self, rows: int, columns: int) -> Float[Array, "patches features"]:
        """Positions of rows x columns patches, float32."""
        width, grid = self.config.features, self.config.positions_grid
        if self.positions is None:
            return sine_positions(rows, columns, width)
        table = self.positions.embedding[...]
        if self.config.token_position:
            table = table[1:]
        if (rows, columns) == grid:
            return table
        return resize_positions(table.reshape(*grid, width), rows, columns).reshape(-1, width)
