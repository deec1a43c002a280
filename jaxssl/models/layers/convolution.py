"""Convolution and the norms between convolutions; images are [batch, height, width, channels].

A norm is called with running statistics or None and gives back moments beside its result: a group norm has
neither, `()`. Batch norm (Ioffe & Szegedy 2015) is over the whole global batch: under jit the mean over a
batch axis that is cut is exact, whatever the devices. Its running statistics are no parameters; who carries
them gives them back where no batch is to be trusted, as in evaluation.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.layers.attention_choice import platform_of_mesh
from jaxssl.models.layers.convolution_on_cpu import convolve, convolve_on_cpu
from jaxssl.models.layers.dense import along_last
from jaxssl.sharding.layout import constrain

Maps = Float[Array, "batch height width channels"]
Norm = Literal["group", "batch"]
Statistics = Any  # of the batch norms of a network, in its shape; no leaves where it has none

GROUPS = 32  # of a group norm (Wu & He 2018) …
LEAST = 4  # … whose groups have at least so many channels


class Convolution(nnx.Module):
    """x * kernel of size x size, without bias; edges are padded so that stride 1 keeps the size.

    Maps are cut along the batch alone: left to itself, XLA (of jax 0.10) cuts some along height or width
    too and adds up kernels' gradients several times.
    """

    def __init__(
        self,
        key: Array,
        inputs: int,
        outputs: int,
        size: int,
        *,
        stride: int = 1,
        stddev: float | None = None,
    ):
        self.stride = stride
        shape = (size, size, inputs, outputs)
        if stddev is None:  # He et al. 2015, of the backward pass
            stddev = (2 / (size * size * outputs)) ** 0.5
        self.kernel = nnx.Param(stddev * jax.random.normal(key, shape))

    def __call__(self, x: Maps) -> Maps:
        on_cpu = platform_of_mesh() == "cpu" and jax.sharding.get_abstract_mesh().size <= 1
        apply = convolve_on_cpu if on_cpu else convolve
        return by_image(apply(by_image(x), self.kernel[...].astype(x.dtype), self.stride))


class GroupNorm(nnx.Module):
    """Each group of channels of an image to mean 0 and variance 1, then scale and bias (Wu & He 2018)."""

    def __init__(self, channels: int, *, scale: float = 1.0, epsilon: float = 1e-5):
        self.groups = groups_of(channels)
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.full(channels, scale))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, x: Maps, statistics: Statistics = None) -> tuple[Maps, Statistics]:
        batch, height, width, channels = x.shape

        def over_groups(means: Float[Array, "batch channels"]) -> Float[Array, "batch 1 channels"]:
            """The mean over the channels of each group, at every one of them."""
            grouped = means.reshape(batch, self.groups, -1).mean(axis=2)
            return jnp.repeat(grouped, channels // self.groups, axis=1)[:, None]

        # Over the places first, where channels lie side by side, then over the few means that are left.
        rows = x.astype(jnp.float32).reshape(batch, height * width, channels)
        centred = rows - over_groups(rows.mean(axis=1))
        variance = over_groups(jnp.square(centred).mean(axis=1))
        exact = (centred * jax.lax.rsqrt(variance + self.epsilon)).reshape(x.shape)
        return affine(exact, self.scale[...], self.bias[...]).astype(x.dtype), ()

    def first_statistics(self) -> Statistics:
        """It has none."""
        return ()


class BatchNorm(nnx.Module):
    """Each channel to mean 0 and variance 1 over the global batch, then scale and bias."""

    def __init__(self, channels: int, *, scale: float = 1.0, epsilon: float = 1e-5):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.full(channels, scale))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(
        self, x: Float[Array, "batch ... channels"], statistics: Statistics = None
    ) -> tuple[Float[Array, "batch ... channels"], Statistics]:
        """Normalised by the statistics, or by the batch's own moments if there are none; and these."""
        exact = x.astype(jnp.float32)
        if statistics is None:
            axes = tuple(range(x.ndim - 1))
            mean = exact.mean(axis=axes)
            statistics = {
                "mean": mean,
                "variance": jnp.square(exact - along_last(mean, exact)).mean(axis=axes),
            }
        centred = exact - along_last(statistics["mean"], exact)
        share = jax.lax.rsqrt(statistics["variance"] + self.epsilon)
        normed = centred * along_last(share, exact)
        return affine(normed, self.scale[...], self.bias[...]).astype(x.dtype), statistics

    def first_statistics(self) -> Statistics:
        """Mean 0 and variance 1."""
        shape = self.scale[...].shape
        return {"mean": jnp.zeros(shape), "variance": jnp.ones(shape)}


def by_image(maps: Maps) -> Maps:
    """Maps, and their gradients, as they lie on a mesh: whole images."""
    return constrain(maps, "batch", None, None, None)


def groups_of(channels: int) -> int:
    """The most groups that divide the channels: at most 32, of at least 4 channels."""
    most = max(1, min(GROUPS, channels // LEAST))
    return next(count for count in range(most, 0, -1) if channels % count == 0)


def make_map_norm(kind: Norm, channels: int, *, scale: float = 1.0) -> GroupNorm | BatchNorm:
    """`kind` is "group" or "batch"."""
    return (GroupNorm if kind == "group" else BatchNorm)(channels, scale=scale)


def affine(x: Array, scale: Array, bias: Array) -> Array:
    return x * along_last(scale, x) + along_last(bias, x)
