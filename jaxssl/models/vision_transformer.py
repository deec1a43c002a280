"""Vision transformer (Dosovitskiy et al. 2021): an image as a row of patches, through the blocks of text.

    patches -> linear + 2-D sine and cosine positions -> [class token, registers,] patches -> blocks -> norm

Positions are fixed (Chen, Xie & He 2021, MoCo v3; He et al. 2022, MAE) and made for the size at hand, so that
small crops need no table of their own. Registers are tokens that carry nothing out (Darcet et al. 2024).

    batch, height, width, channels    images          places     patches of an image, row by row
    first    class token and registers                features   width of the states
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.errors import InputError
from jaxssl.models.layers.dense import Linear
from jaxssl.models.layers.stack import run_layers, scan_layers, stack_layers
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.transformer_layers import (
    Layer,
    SharedLayerInputs,
    norm_of,
    per_layer_inputs,
    stream,
)

States = Float[Array, "batch places width"]


@dataclass(frozen=True)
class VisionTransformerConfig:
    """The shape of a vision transformer; `recipes.vit` has its usual blocks."""

    blocks: TransformerConfig
    patch: int = 16  # pixels of its side
    pooling: Literal["token", "mean"] = (
        "token"  # features: the class token's state, or the patches' mean
    )
    registers: int = 0

    def __post_init__(self) -> None:
        if self.patch < 1 or self.registers < 0:
            raise InputError(
                f"patch {self.patch} must be at least 1 and registers {self.registers} at least 0"
            )
        if self.pooling not in ("token", "mean"):
            raise InputError(f"pooling {self.pooling!r} is unknown; use token or mean")
        if self.blocks.width % 4:
            raise InputError(
                f"width {self.blocks.width} is no multiple of 4: positions are sine and cosine of two axes"
            )
        if (
            self.blocks.causal
            or self.blocks.positions == "rotary"
            or self.blocks.window is not None
        ):
            raise InputError(
                "patches see each other on all sides and have positions of their own: leave causal, "
                'window and positions="rotary" out of blocks'
            )

    def make(self, key: Array, channels: int) -> "VisionTransformer":
        """The network with fresh parameters, for images of so many channels."""
        return VisionTransformer(self, key, channels)

    @property
    def features(self) -> int:
        """How many numbers describe an image."""
        return self.blocks.width

    @property
    def stride(self) -> int:
        """Pixels of an image, along a side, to one place of its maps."""
        return self.patch

    @property
    def compute_dtype(self) -> str:
        return self.blocks.compute_dtype

    @property
    def first(self) -> int:
        """States before those of the patches."""
        return (self.pooling == "token") + self.registers


class Blocks(nnx.Module):
    """Layers of a transformer over states that all see each other, and the norm behind them."""

    layout = ((r"final_norm/(scale|bias)", (None,)),)

    def __init__(self, config: TransformerConfig, key: Array):
        self.config = config
        self.layers = stack_layers(lambda one: Layer(config, one), key, config.depth)
        self.final_norm = norm_of(config) if config.final_norm else None

    def __call__(self, x: States, key: Array | None = None) -> States:
        """Runs states `x` `[batch, positions, width]` through the layers and the final norm.

        The result is in `compute_dtype`. `key` is that of dropout; `None`: no dropout.
        """
        every = SharedLayerInputs(jnp.ones(x.shape[:2], jnp.int32), None)

        def apply(layer: Layer, x: States, one: Any) -> States:
            return layer(stream(self.config, x), one, every)

        each = per_layer_inputs(self.config, key)
        x = x.astype(self.config.compute_dtype)
        x = run_layers(self.layers, x, each, apply, remat=self.config.remat)
        return x if self.final_norm is None else self.final_norm(x)

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
        every = SharedLayerInputs(jnp.ones(x.shape[:2], jnp.int32), None)

        def apply(layer: Layer, x: States, one: Any) -> tuple[States, States]:
            x = stream(self.config, layer(stream(self.config, x), one, every))
            return x, x

        each = per_layer_inputs(self.config, key)
        x = x.astype(self.config.compute_dtype)
        _, states = scan_layers(self.layers, x, each, apply, remat=self.config.remat)
        return jnp.concatenate([stream(self.config, x)[None], states])


class VisionTransformer(nnx.Module):
    """Images to features: a plain pytree of float32 parameters, with `config` as static data."""

    # The lines of the blocks are in transformer.py.
    layout = (
        (r"embedding/kernel", (None, "embed")),
        (r"embedding/bias", (None,)),
        (r"token|registers", (None, "embed")),
    )

    def __init__(self, config: VisionTransformerConfig, key: Array, channels: int):
        embedding, token, registers, blocks = jax.random.split(key, 4)
        width, sd = config.blocks.width, config.blocks.initializer_range
        inputs = config.patch**2 * channels
        self.config = config
        self.embedding = Linear(embedding, inputs, width, deviation=(1 / inputs) ** 0.5)
        has_token = config.pooling == "token"
        self.token = nnx.Param(sd * jax.random.normal(token, (1, width))) if has_token else None
        self.registers = (
            nnx.Param(sd * jax.random.normal(registers, (config.registers, width)))
            if config.registers
            else None
        )
        self.blocks = Blocks(config.blocks, blocks)

    def __call__(
        self,
        pixels: Float[Array, "batch height width channels"],
        *,
        key: Array | None = None,
        statistics: Any = None,
    ) -> tuple[Float[Array, "batch features"], Any]:
        """Features in float32, and no moments: there is no batch norm here. No `key`: no dropout."""
        states = self.run(self.embed(pixels), key).astype(jnp.float32)
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
        """The states of the patches, where they lie in the image."""
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
        no entry, also not in the last; `output_hidden_states` of transformers leaves it out too for ViT.

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
        """Patches as the blocks read them: embedded, with positions, in `compute_dtype`.

        Raises `InputError` for sizes that the patch does not divide.
        """
        patches = cut_patches(pixels.astype(self.config.compute_dtype), self.config.patch)
        rows, columns = (side // self.config.patch for side in pixels.shape[1:3])
        positions = sine_positions(rows, columns, self.config.features)
        return self.embedding(patches) + positions[None].astype(patches.dtype)

    def run(self, states: States, key: Array | None = None) -> States:
        """Puts class token and registers before states `[batch, patches, width]` and runs the blocks.

        `key` is that of dropout; `None`: no dropout. The result has `config.first` positions more.
        """
        return self.blocks(self._with_first(states), key)

    def _with_first(self, states: States) -> States:
        """Class token and registers, if there are any, before the states."""
        batch = states.shape[0]
        first = [one[...] for one in (self.token, self.registers) if one is not None]
        before = [
            jnp.broadcast_to(tokens[None], (batch, *tokens.shape)).astype(states.dtype)
            for tokens in first
        ]
        return jnp.concatenate([*before, states], axis=1)

    def first_statistics(self) -> Any:
        """It has no batch norms."""
        return ()


def cut_patches(
    pixels: Float[Array, "batch height width channels"], patch: int
) -> Float[Array, "batch places numbers"]:
    """The pixels of every patch, row by row, in the order patch row, patch column, row, column, channel."""
    batch, height, width, channels = pixels.shape
    if height % patch or width % patch:
        raise InputError(
            f"images of {height}x{width} are not made of patches of {patch}x{patch}; pass a patch that "
            "divides both sides, or views of another size"
        )
    grid = pixels.reshape(batch, height // patch, patch, width // patch, patch, channels)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, patch * patch * channels)


def join_patches(
    patches: Float[Array, "batch places numbers"], patch: int, height: int, width: int
) -> Float[Array, "batch height width channels"]:
    """The image that `cut_patches` has cut."""
    batch = patches.shape[0]
    grid = patches.reshape(batch, height // patch, width // patch, patch, patch, -1)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height, width, -1)


def sine_positions(rows: int, columns: int, width: int) -> Float[Array, "places width"]:
    """Half of the width for a patch's column, half for its row: sines, then cosines (He et al. 2022).

    Of a place p the i-th of width / 4 is sin(p / 10000^(i / (width / 4))).
    """
    quarter = width // 4
    speed = 1.0 / 10_000 ** (jnp.arange(quarter, dtype=jnp.float32) / quarter)

    def along(count: int) -> Float[Array, "count half"]:
        angles = jnp.arange(count, dtype=jnp.float32)[:, None] * speed[None]
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)

    across = jnp.broadcast_to(along(columns)[None], (rows, columns, 2 * quarter))
    down = jnp.broadcast_to(along(rows)[:, None], (rows, columns, 2 * quarter))
    return jnp.concatenate([across, down], axis=2).reshape(rows * columns, width)
