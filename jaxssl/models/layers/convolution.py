"""Convolution and the norms between convolutions.

Maps are [batch, height, width, channels]. A norm is called with running statistics or None, and returns
moments beside its result; a group norm has neither and returns (). Batch norm (Ioffe & Szegedy 2015) is
over the whole global batch: under jit the mean over a sharded batch axis is exact, whatever the devices.
Its running statistics are no parameters; the objectives carry them
(objectives/joint_embedding/batch_statistics.py) and give them back to the network in evaluation.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.layers.attention_choice import platform_of_mesh
from jaxssl.models.layers.batch_norm import normalize_batch
from jaxssl.models.layers.convolution_on_cpu import convolve, convolve_on_cpu
from jaxssl.models.layers.dense import broadcast_last
from jaxssl.sharding.layout import constrain

Maps = Float[Array, "batch height width channels"]
Norm = Literal["group", "batch"]
Statistics = (
    Any  # pytree of the moments of a network's batch norms; () or None where there are none
)

GROUPS = 32  # most groups of a group norm (Wu & He 2018)
LEAST = 4  # fewest channels of its groups


class Convolution(nnx.Module):
    """Convolution with a square kernel, without bias; edges are padded so that stride 1 keeps the size.

    Maps and their gradients are sharded along the batch alone: otherwise XLA (of jax 0.10) shards some of
    them along height or width too, and adds up the kernels' gradients several times.

    Args:
      key: Random key of the initial kernel.
      inputs: Channels that are read.
      outputs: Channels that are computed.
      size: Side of the kernel, an odd number.
      stride: Step of the window on both axes.
      stddev: Standard deviation of the initial kernel. `None`: sqrt(2 / (size^2 outputs)), which keeps the
        variance of gradients in the backward pass (He et al. 2015).
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
        if stddev is None:
            stddev = (2 / (size * size * outputs)) ** 0.5
        self.kernel = nnx.Param(stddev * jax.random.normal(key, shape))

    def __call__(self, x: Maps) -> Maps:
        """Convolves `x` `[batch, height, width, inputs]`, in its type."""
        on_cpu = platform_of_mesh() == "cpu" and jax.sharding.get_abstract_mesh().size <= 1
        apply = convolve_on_cpu if on_cpu else convolve
        kernel = self.kernel[...].astype(x.dtype)
        return shard_by_image(apply(shard_by_image(x), kernel, self.stride))


class GroupNorm(nnx.Module):
    """Brings each group of an image's channels to mean 0 and variance 1, then applies scale and bias.

    Args:
      channels: Channels of the maps; `groups_of` them are the groups.
      scale: Initial scale.
      epsilon: Number added to the variance.

    References:
      Wu & He 2018, "Group normalization".
    """

    def __init__(self, channels: int, *, scale: float = 1.0, epsilon: float = 1e-5):
        self.groups = groups_of(channels)
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.full(channels, scale, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, x: Maps, statistics: Statistics = None) -> tuple[Maps, Statistics]:
        """Normalises maps `x` `[batch, height, width, channels]`.

        `statistics` are not read, and `()` is returned beside the result.
        """
        batch, height, width, channels = x.shape

        def over_groups(means: Float[Array, "batch channels"]) -> Float[Array, "batch 1 channels"]:
            """The mean over the channels of each group, for every channel of the group."""
            grouped = means.reshape(batch, self.groups, -1).mean(axis=2)
            return jnp.repeat(grouped, channels // self.groups, axis=1)[:, None]

        # Over the positions first, where channels are contiguous, then over the few means that are left.
        rows = x.astype(jnp.float32).reshape(batch, height * width, channels)
        centred = rows - over_groups(rows.mean(axis=1))
        variance = over_groups(jnp.square(centred).mean(axis=1))
        exact = (centred * jax.lax.rsqrt(variance + self.epsilon)).reshape(x.shape)
        return affine(exact, self.scale[...], self.bias[...]).astype(x.dtype), ()

    def first_statistics(self) -> Statistics:
        """Returns `()`: a group norm has no running statistics."""
        return ()


class BatchNorm(nnx.Module):
    """Brings each channel to mean 0 and variance 1 over the global batch, then applies scale and bias.

    Args:
      channels: Channels of the maps or features.
      scale: Initial scale.
      epsilon: Number added to the variance.
      affine: Whether there are a scale and a bias.

    References:
      Ioffe & Szegedy 2015, "Batch normalization".
    """

    def __init__(
        self, channels: int, *, scale: float = 1.0, epsilon: float = 1e-5, affine: bool = True
    ):
        self.channels, self.epsilon = channels, epsilon
        self.scale = nnx.Param(jnp.full(channels, scale, jnp.float32)) if affine else None
        self.bias = nnx.Param(jnp.zeros(channels)) if affine else None

    def __call__(
        self, x: Float[Array, "batch ... channels"], statistics: Statistics = None
    ) -> tuple[Float[Array, "batch ... channels"], Statistics]:
        """Normalises by given statistics or by the moments of the batch.

        Args:
          x: Maps or features, `[batch, ..., channels]`.
          statistics: {"mean": `[channels]`, "variance": `[channels]`} to normalise by, as in evaluation.
            `None`: the moments of `x` over all axes but the last.

        Returns:
          The normalised `x` in its type, and the moments that it was normalised by, float32.
        """
        if statistics is None and x.dtype.itemsize < 4:
            vectors = (jnp.ones(self.channels), jnp.zeros(self.channels))
            if self.scale is not None and self.bias is not None:
                vectors = (self.scale[...], self.bias[...])
            y, mean, variance = normalize_batch(x, *vectors, self.epsilon)
            return y, {"mean": mean, "variance": variance}
        exact = x.astype(jnp.float32)
        if statistics is None:
            axes = tuple(range(x.ndim - 1))
            mean = exact.mean(axis=axes)
            statistics = {
                "mean": mean,
                "variance": jnp.square(exact - broadcast_last(mean, exact)).mean(axis=axes),
            }
        centred = exact - broadcast_last(statistics["mean"], exact)
        share = jax.lax.rsqrt(statistics["variance"] + self.epsilon)
        normed = centred * broadcast_last(share, exact)
        if self.scale is not None and self.bias is not None:
            normed = affine(normed, self.scale[...], self.bias[...])
        return normed.astype(x.dtype), statistics

    def first_statistics(self) -> Statistics:
        """Returns mean 0 and variance 1, each `[channels]`: the running statistics before the first batch."""
        return {"mean": jnp.zeros(self.channels), "variance": jnp.ones(self.channels)}


def shard_by_image(maps: Maps) -> Maps:
    """Shards `maps` `[batch, height, width, channels]` and their gradients along the batch alone."""
    return constrain(maps, "batch", None, None, None)


def groups_of(channels: int) -> int:
    """Returns the most groups that divide `channels`: at most 32, each of at least 4 channels."""
    most = max(1, min(GROUPS, channels // LEAST))
    return next(count for count in range(most, 0, -1) if channels % count == 0)


def make_map_norm(kind: Norm, channels: int, *, scale: float = 1.0) -> GroupNorm | BatchNorm:
    """Makes a norm between convolutions.

    Args:
      kind: "group" or "batch".
      channels: Channels of the maps.
      scale: Initial scale.

    Returns:
      A `GroupNorm` or `BatchNorm`.
    """
    return (GroupNorm if kind == "group" else BatchNorm)(channels, scale=scale)


def affine(x: Array, scale: Array, bias: Array) -> Array:
    """Computes `x` * `scale` + `bias` for `x` `[..., channels]` and vectors `[channels]`."""
    return x * broadcast_last(scale, x) + broadcast_last(bias, x)
