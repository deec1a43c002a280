"""Residual networks for images of any size: ResNet 10, 18, 34, 50, 101 and 152 (He et al. 2016, table 1).

    stem -> four stages of blocks, each after the first half as high and wide and twice as many channels

The CIFAR stem is one 3 x 3 convolution (Chen et al. 2020, appendix B.9), ImageNet's 7 x 7 with stride 2 and
a 3 x 3 maximum with stride 2. Group norm by default: it needs no other image, so a microbatch is as good as
a batch. The last norm of every block starts with scale 0, so that the block starts as what it adds to (Goyal
et al. 2017, section 5.1).

    batch, height, width, channels    images and maps        features    channels of the last maps
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.errors import InputError
from jaxssl.models.layers.convolution import (
    Convolution,
    Maps,
    Norm,
    Statistics,
    make_map_norm,
)

# depth -> blocks of the four stages, and whether these are bottlenecks
DEPTHS: dict[int, tuple[tuple[int, int, int, int], bool]] = {
    10: ((1, 1, 1, 1), False),
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
WIDER = 4  # a bottleneck's outputs beside its inner channels


@dataclass(frozen=True)
class ResNetConfig:
    """The shape of a residual network; ResNet-50 on ImageNet is `ResNetConfig(50, stem="imagenet")`."""

    depth: Literal[10, 18, 34, 50, 101, 152] = 18
    width: int = 64  # channels of the first stage
    stem: Literal["cifar", "imagenet"] = "cifar"
    norm: Norm = "group"  # or batch, over the global batch
    compute_dtype: Literal["float32", "bfloat16"] = "float32"  # parameters are float32 always

    def __post_init__(self) -> None:
        for name, allowed in (
            ("depth", tuple(DEPTHS)),
            ("stem", ("cifar", "imagenet")),
            ("norm", ("group", "batch")),
            ("compute_dtype", ("float32", "bfloat16")),
        ):
            if getattr(self, name) not in allowed:
                choice = ", ".join(map(str, allowed))
                raise InputError(
                    f"{name}={getattr(self, name)!r} is not one of {choice}; set {name} to one of these"
                )
        if self.width < 1:
            raise InputError(
                f"width={self.width} is below 1; set width to a number of channels, such as 64"
            )

    def make(self, key: Array, channels: int) -> "ResNet":
        """The network with fresh parameters, for images of so many channels."""
        return ResNet(self, key, channels)

    @property
    def features(self) -> int:
        """How many numbers describe an image."""
        return 8 * self.width * (WIDER if DEPTHS[self.depth][1] else 1)

    @property
    def stride(self) -> int:
        """Pixels of an image, along a side, to one place of the last maps."""
        return 8 if self.stem == "cifar" else 32

    def _blocks(self) -> list[tuple[int, int, int]]:
        """Inputs, inner channels and stride of every block."""
        counts, bottleneck = DEPTHS[self.depth]
        found, inputs = [], self.width
        for stage, count in enumerate(counts):
            inner = self.width * 2**stage
            for block in range(count):
                found.append((inputs, inner, 2 if stage and block == 0 else 1))
                inputs = inner * (WIDER if bottleneck else 1)
        return found


class Block(nnx.Module):
    """Two convolutions of 3 x 3, or 1 x 1, 3 x 3 and 1 x 1; the stride is in the first of 3 x 3."""

    def __init__(self, key: Array, config: ResNetConfig, inputs: int, inner: int, stride: int):
        keys = jax.random.split(key, 4)
        bottleneck = DEPTHS[config.depth][1]
        outputs = inner * (WIDER if bottleneck else 1)
        sizes = (1, 3, 1) if bottleneck else (3, 3)
        widths = (inputs, *(inner for _ in sizes[1:]), outputs)
        strided = sizes.index(3)
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
        own = self._parts(statistics)
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
        norms = [*self.norms] + ([] if self.shortcut_norm is None else [self.shortcut_norm])
        return [norm.first_statistics() for norm in norms]

    def _parts(self, statistics: Statistics) -> list[Statistics]:
        return [None] * (len(self.norms) + 1) if statistics is None else statistics


class ResNet(nnx.Module):
    """Images to features: a plain pytree of float32 parameters, with `config` as static data."""

    layout = (
        (r"(?:stem|blocks/\d+/(?:shortcut|convolutions/\d+))/kernel", (None, None, None, "embed")),
        (r"(?:stem_norm|blocks/\d+/(?:shortcut_norm|norms/\d+))/(?:scale|bias)", (None,)),
    )

    def __init__(self, config: ResNetConfig, key: Array, channels: int):
        shapes = config._blocks()
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
        """The mean of the last maps, float32, and moments of the batch norms. `key` changes nothing."""
        maps, moments = self.maps(pixels, key=key, statistics=statistics)
        return maps.astype(jnp.float32).mean(axis=(1, 2)), moments

    def maps(
        self,
        pixels: Float[Array, "batch height width channels"],
        *,
        key: Array | None = None,
        statistics: Statistics = None,
    ) -> tuple[Maps, Statistics]:
        """The last maps, in `compute_dtype`: a place for `config.stride` pixels along each side."""
        own = statistics or [None] * (len(self.blocks) + 1)
        x = pixels.astype(self.config.compute_dtype)
        x, found = self.stem_norm(self.stem(x), own[0])
        moments = [found]
        x = jax.nn.relu(x)
        if self.config.stem == "imagenet":
            x = largest_of_nine(x)
        for block, one in zip(self.blocks, own[1:], strict=True):
            x, found = block(x, one)
            moments.append(found)
        return x, moments if self.config.norm == "batch" else ()

    def first_statistics(self) -> Statistics:
        """Of the batch norms of a new network; `()` where it has none."""
        if self.config.norm != "batch":
            return ()
        return [self.stem_norm.first_statistics(), *(b.first_statistics() for b in self.blocks)]


def largest_of_nine(x: Maps) -> Maps:
    """The maximum over 3 x 3 places, of every second one."""
    return jax.lax.reduce_window(
        x,
        np.array(-np.inf, x.dtype),  # a number that is known while tracing, or it has no gradient
        jax.lax.max,
        (1, 3, 3, 1),
        (1, 2, 2, 1),
        ((0, 0), (1, 1), (1, 1), (0, 0)),
    )
