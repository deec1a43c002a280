"""A small convolutional decoder from maps to an image, twice as high and wide at every stage.

    maps -> [every position 2 x 2 times -> 3 x 3 convolution -> group norm -> ReLU] ... -> 3 x 3 convolution

Positions are repeated and then convolved, which leaves no checkerboard artefacts (Odena et al. 2016).
Channels halve from stage to stage, from at most 8 times `width` down to `width`.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.errors import InputError
from jaxssl.models.layers.convolution import Convolution, GroupNorm, Maps
from jaxssl.models.layers.dense import broadcast_last

WIDEST = 8  # most channels of a stage, as a multiple of those of the last


class ImageDecoder(nnx.Module):
    """Maps of any size to images that are `2 ** doublings` times as high and wide.

    Args:
      key: Random key of the initial parameters.
      inputs: Channels of the maps.
      width: Channels of the last stage.
      outputs: Channels of the images.
      doublings: Number of stages, each of which doubles height and width.

    Raises:
      InputError: A number of channels is below 1, or `doublings` is negative.
    """

    layout = (
        (r"convolutions/\d+/kernel", (None, None, None, "embed")),
        (r"norms/\d+/(?:scale|bias)", (None,)),
        (r"pixels/kernel", (None, None, "embed", None)),
        (r"bias", (None,)),
    )

    def __init__(self, key: Array, inputs: int, width: int, outputs: int, *, doublings: int):
        if min(inputs, width, outputs) < 1 or doublings < 0:
            raise InputError(
                f"inputs={inputs}, width={width} and outputs={outputs} must be at least 1, and "
                f"doublings={doublings} at least 0"
            )
        keys = jax.random.split(key, doublings + 1)
        stages = stages_of(inputs, width, doublings)
        self.convolutions = nnx.List(
            Convolution(one, before, after, 3)
            for one, (before, after) in zip(keys, stages, strict=False)
        )
        self.norms = nnx.List(GroupNorm(after) for _, after in stages)
        last = stages[-1][1] if stages else inputs
        self.pixels = Convolution(keys[-1], last, outputs, 3, stddev=0.1 * (9 * last) ** -0.5)
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(
        self, maps: Float[Array, "batch rows columns inputs"]
    ) -> Float[Array, "batch height width outputs"]:
        """Decodes `maps` `[batch, rows, columns, inputs]` to float32 `[batch, height, width, outputs]`."""
        x = maps
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = jax.nn.relu(norm(convolution(double_size(x)))[0])
        x = self.pixels(x).astype(jnp.float32)
        return x + broadcast_last(self.bias[...], x)


def stages_of(inputs: int, width: int, doublings: int) -> list[tuple[int, int]]:
    """Returns the channels that every stage reads and computes.

    Args:
      inputs: Channels of the maps.
      width: Channels of the last stage.
      doublings: Number of stages.
    """
    after = [width * min(2**left, WIDEST) for left in reversed(range(doublings))]
    return list(zip([inputs, *after][:-1], after, strict=True))


def double_size(x: Maps) -> Float[Array, "batch rows columns channels"]:
    """Repeats every position of maps `x` `[batch, height, width, channels]` 2 x 2 times."""
    batch, height, width, channels = x.shape
    shape = (batch, height, 2, width, 2, channels)
    repeated = jnp.broadcast_to(x[:, :, None, :, None], shape)
    return repeated.reshape(batch, 2 * height, 2 * width, channels)
