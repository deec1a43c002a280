"""Residual networks for images of any size: ResNet 18, 34, 50, 101 and 152 (He et al. 2016, table 1).

    stem -> four stages of blocks; from the second on half as high and wide, with twice as many channels

ResNet 10, 14 and 26 have fewer blocks of the same kinds. The CIFAR stem is one 3 x 3 convolution (Chen et
al. 2020, appendix B.9), ImageNet's is 7 x 7 with stride 2 and a 3 x 3 maximum with stride 2. The default norm
is group norm, which depends on no other image, so that a microbatch is as good as a batch. The last norm of
every block starts with scale 0, so that the block starts as its shortcut (Goyal et al. 2017, section 5.1).

    batch, height, width, channels    images and maps        features    channels of the last maps
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.errors import InputError, checked
from jaxssl.models.layers.convolution import (
    Convolution,
    Maps,
    Norm,
    Statistics,
    make_map_norm,
)

# Depth -> number of blocks in each of the four stages, and whether they are bottlenecks.
DEPTHS: dict[int, tuple[tuple[int, int, int, int], bool]] = {
    10: ((1, 1, 1, 1), False),
    14: ((1, 1, 1, 1), True),
    18: ((2, 2, 2, 2), False),
    26: ((2, 2, 2, 2), True),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
EXPANSION = 4  # output channels of a bottleneck, as a multiple of its inner channels


@dataclass(frozen=True)
@checked
class ResNetConfig:
    """The shape of a residual network; ResNet-50 on ImageNet is `ResNetConfig(50, stem="imagenet")`.

    Raises `InputError` for fields that no network can have.
    """

    depth: Literal[10, 14, 18, 26, 34, 50, 101, 152] = 18
    """Number of layers, as in the name of the network (ResNet-50); the blocks of 14, 26 and from 50 on are
    bottlenecks."""
    width: int = 64
    """Channels of the first stage; the published networks have 64."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """First layers: a 3 x 3 convolution (small images), or 7 x 7 and pooling, which divide sides by 4."""
    norm: Norm = "group"
    """Norm after convolutions: group norm (Wu & He 2018), or batch norm over the global batch."""
    bottleneck_stride: Literal["3x3", "1x1"] = "3x3"
    """Which convolution of a bottleneck has the stride: that of 3 x 3 (torchvision, "v1.5"), or the first of
    1 x 1 (He et al. 2016)."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type that maps are computed in; parameters are float32 always."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise InputError(
                f"width={self.width} is below 1; set width to a number of channels, such as 64"
            )

    def make(self, key: Array, channels: int) -> "ResNet":
        """Returns the network with parameters drawn from `key`, for images of `channels` channels."""
        return ResNet(self, key, channels)

    @property
    def features(self) -> int:
        """Number of features of an image: channels of the last maps."""
        return 8 * self.width * (EXPANSION if DEPTHS[self.depth][1] else 1)

    @property
    def stride(self) -> int:
        """Pixels of an image, along a side, to one position of the last maps."""
        return 8 if self.stem == "cifar" else 32

    def block_shapes(self) -> list[tuple[int, int, int]]:
        """Returns input channels, inner channels and stride of every block, in order."""
        counts, bottleneck = DEPTHS[self.depth]
        found, inputs = [], self.width
        for stage, count in enumerate(counts):
            inner = self.width * 2**stage
            for block in range(count):
                found.append((inputs, inner, 2 if stage and block == 0 else 1))
                inputs = inner * (EXPANSION if bottleneck else 1)
        return found


class Block(nnx.Module):
    """Two convolutions of 3 x 3, or 1 x 1, 3 x 3 and 1 x 1 (a bottleneck), added to a shortcut.

    The first convolution of 3 x 3 has the stride, or that of `bottleneck_stride`. The shortcut is a 1 x 1
    convolution where shapes differ.

    Args:
      key: Random key of the initial kernels.
      config: Shape of the network.
      inputs: Channels that are read.
      inner: Channels between the convolutions; a bottleneck's output has `EXPANSION` times as many.
      stride: Step of the window.
    """

    def __init__(self, key: Array, config: ResNetConfig, inputs: int, inner: int, stride: int):
        keys = jax.random.split(key, 4)
        bottleneck = DEPTHS[config.depth][1]
        outputs = inner * (EXPANSION if bottleneck else 1)
        sizes = (1, 3, 1) if bottleneck else (3, 3)
        widths = (inputs, *(inner for _ in sizes[1:]), outputs)
        strided = sizes.index(1 if bottleneck and config.bottleneck_stride == "1x1" else 3)
        self.convolutions = nnx.List(
            Convolution(one, before, after, size, stride=stride if i == strided else 1)
            for i, (one, before, after, size) in enumerate(
                zip(keys, widths[:-1], widths[1:], sizes, strict=False)
            )
        )
        last = len(sizes) - 1
        self.norms = nnx.List(
            make_map_norm(config.norm, widths[i + 1], scale=float(i != last))
            for i in range(len(sizes))
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else Convolution(keys[3], inputs, outputs, 1, stride=stride)
        self.shortcut_norm = None if same else make_map_norm(config.norm, outputs)

    def __call__(self, x: Maps, statistics: Statistics = None) -> tuple[Maps, Statistics]:
        """Computes the block's maps.

        Args:
          x: Maps, `[batch, height, width, inputs]`.
          statistics: Running statistics of every norm. `None`: batch norms use the moments of this batch.

        Returns:
          Maps `[batch, height / stride, width / stride, outputs]`, and the moments that each norm used.
        """
        own = [None] * (len(self.norms) + 1) if statistics is None else statistics
        moments, y = [], x
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            y, found = norm(convolution(y), own[i])
            y = jax.nn.relu(y) if i + 1 < len(self.norms) else y
            moments.append(found)
        if self.shortcut is not None and self.shortcut_norm is not None:
            x, found = self.shortcut_norm(self.shortcut(x), own[-1])
            moments.append(found)
        return jax.nn.relu(x + y), moments

    def first_statistics(self) -> Statistics:
        """Returns the running statistics of a new block, one entry for each norm."""
        norms = [*self.norms] + ([] if self.shortcut_norm is None else [self.shortcut_norm])
        return [norm.first_statistics() for norm in norms]


class ResNet(nnx.Module):
    """Images to features: a plain pytree of float32 parameters, with `config` as static data.

    Args:
      config: Shape of the network.
      key: Random key of the initial parameters.
      channels: Channels of the images.
    """

    layout = (
        (r"(?:stem|blocks/\d+/(?:shortcut|convolutions/\d+))/kernel", (None, None, None, "embed")),
        (r"(?:stem_norm|blocks/\d+/(?:shortcut_norm|norms/\d+))/(?:scale|bias)", (None,)),
    )

    def __init__(self, config: ResNetConfig, key: Array, channels: int):
        shapes = config.block_shapes()
        keys = jax.random.split(key, len(shapes) + 1)
        imagenet = config.stem == "imagenet"
        self.config = config
        self.stem = Convolution(
            keys[0], channels, config.width, 7 if imagenet else 3, stride=2 if imagenet else 1
        )
        self.stem_norm = make_map_norm(config.norm, config.width)
        self.blocks = nnx.List(
            Block(one, config, *shape) for one, shape in zip(keys[1:], shapes, strict=True)
        )

    def __call__(
        self,
        pixels: Float[Array, "batch height width channels"],
        *,
        key: Array | None = None,
        statistics: Statistics = None,
    ) -> tuple[Float[Array, "batch features"], Statistics]:
        """Computes the features of images, the mean over the last maps.

        Args:
          pixels: Images, `[batch, height, width, channels]`.
          key: Not read: there is no dropout.
          statistics: Running statistics of the batch norms. `None`: they use the moments of this batch.

        Returns:
          Features, float32 `[batch, features]`, and the moments that the batch norms used (`()` with
          group norm).
        """
        maps, moments = self.maps(pixels, key=key, statistics=statistics)
        return maps.astype(jnp.float32).mean(axis=(1, 2)), moments

    def maps(
        self,
        pixels: Float[Array, "batch height width channels"],
        *,
        key: Array | None = None,
        statistics: Statistics = None,
    ) -> tuple[Maps, Statistics]:
        """Computes the last maps, with one position for `config.stride` pixels along each side.

        Args:
          pixels: Images, `[batch, height, width, channels]`.
          key: Not read: there is no dropout.
          statistics: Running statistics of the batch norms. `None`: they use the moments of this batch.

        Returns:
          Maps in `compute_dtype`, `[batch, height / stride, width / stride, features]`, and the moments
          that the batch norms used (`()` with group norm).
        """
        every, moments = self._run(pixels, statistics)
        return every[-1], moments

    def hidden_maps(
        self,
        pixels: Float[Array, "batch height width channels"],
        *,
        statistics: Statistics = None,
    ) -> list[Maps]:
        """Computes the maps after the stem (with its pooling) and after each of the four stages.

        Args:
          pixels: Images, `[batch, height, width, channels]`.
          statistics: Running statistics of the batch norms. `None`: they use the moments of this batch.

        Returns:
          Five maps in `compute_dtype`, of decreasing size; the last is that of `maps`.
        """
        every, _ = self._run(pixels, statistics)
        counts, _ = DEPTHS[self.config.depth]
        return [every[sum(counts[:stage])] for stage in range(len(counts) + 1)]

    def _run(
        self, pixels: Float[Array, "batch height width channels"], statistics: Statistics
    ) -> tuple[list[Maps], Statistics]:
        """The maps after the stem and after every block, and the moments that the batch norms used."""
        own = statistics or [None] * (len(self.blocks) + 1)
        x = pixels.astype(self.config.compute_dtype)
        x, found = self.stem_norm(self.stem(x), own[0])
        moments = [found]
        x = jax.nn.relu(x)
        if self.config.stem == "imagenet":
            x = max_pool(x)
        every = [x]
        for block, one in zip(self.blocks, own[1:], strict=True):
            x, found = block(x, one)
            every.append(x)
            moments.append(found)
        return every, moments if self.config.norm == "batch" else ()

    def first_statistics(self) -> Statistics:
        """Returns the running statistics of a new network, mean 0 and variance 1; `()` with group norm."""
        if self.config.norm != "batch":
            return ()
        return [self.stem_norm.first_statistics(), *(b.first_statistics() for b in self.blocks)]


def max_pool(x: Maps) -> Maps:
    """Computes maxima over 3 x 3 with stride 2, for maps `x` `[batch, height, width, channels]`."""
    return jax.lax.reduce_window(
        x,
        np.array(-np.inf, x.dtype),  # it must be known while tracing, or there is no gradient
        jax.lax.max,
        (1, 3, 3, 1),
        (1, 2, 2, 1),
        ((0, 0), (1, 1), (1, 1), (0, 0)),
    )
