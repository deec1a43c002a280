"""ResNet (He et al. 2016): ResNetModel and ResNetForImageClassification, with batch norms.

The objective of an import is SimCLR with a fresh projector, as for ViT. Running statistics of the batch norms
are what the objective carries. A classifier is kept and goes out as it came.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jaxssl.augment.recipes import IMAGENET_MEAN, IMAGENET_STD, simclr_views
from jaxssl.data.images import ImageSpec
from jaxssl.data.stores.json_types import short
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import chosen, flag, require, whole
from jaxssl.interop.huggingface.families.vision import CONVOLUTION, check_fields, first_views
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.image_settings import image_spec, normalized, preprocessor
from jaxssl.interop.huggingface.rules import Rule
from jaxssl.models.resnet import DEPTHS, EXPANSION, ResNetConfig
from jaxssl.objectives.image_text import ImageText
from jaxssl.objectives.simclr import SimCLR

IS_BOTTLENECK = {"basic": False, "bottleneck": True}


@dataclass(frozen=True)
class Resnet(Family):
    """Folders with the model_type resnet."""

    base: ClassVar[str] = "ResNetModel"
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> SimCLR:
        """Returns SimCLR with the network of `config` as its encoder, whatever the `architecture`."""
        require(config, hidden_act="relu", downsample_in_first_stage=False)
        encoder = ResNetConfig(
            _depth(config),
            width=whole(config, "embedding_size", 64),
            stem="imagenet",
            norm="batch",
            bottleneck_stride="1x1" if flag(config, "downsample_in_bottleneck", False) else "3x3",
        )
        bottleneck = DEPTHS[encoder.depth][1]
        widths = config.get("hidden_sizes", [256, 512, 1024, 2048])
        wanted = _widths(encoder)
        if widths != wanted:
            raise InputError(
                f"config.json has hidden_sizes={short(widths)} for {'bottleneck' if bottleneck else 'basic'} "
                f"blocks with embedding_size={encoder.width}; these must be {wanted} to be imported"
            )
        default = (IMAGENET_MEAN, IMAGENET_STD)
        return SimCLR(encoder, normalized(simclr_views(), config, default))

    def spec(self, config: Mapping[str, Any], objective: Any, tokenizer: Any) -> ImageSpec:
        """Returns the description of the images of `config`; `objective` and `tokenizer` are not read."""
        return image_spec(config)

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of the encoder of an `objective` for an `architecture`."""
        rules = []
        for part in parts(objective.encoder):
            theirs = _prefix(architecture) + part.theirs
            ours, own = f"encoder/{part.convolution}/kernel", f"encoder/{part.norm}"
            rules.append(Rule(f"{theirs}.convolution.weight", (ours,), CONVOLUTION))
            rules.append(Rule(f"{theirs}.normalization.weight", (f"{own}/scale",)))
            rules.append(Rule(f"{theirs}.normalization.bias", (f"{own}/bias",)))
        return rules

    def state_rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of running statistics of an `objective` for an `architecture`."""
        rules = []
        for part in parts(objective.encoder):
            theirs = f"{_prefix(architecture)}{part.theirs}.normalization.running"
            ours = f"statistics/encoder/{part.statistics}"
            rules.append(Rule(f"{theirs}_mean", (f"{ours}/mean",)))
            rules.append(Rule(f"{theirs}_var", (f"{ours}/variance",)))
        return rules

    def constants(self, objective: Any, spec: Any, architecture: str) -> Mapping[str, np.ndarray]:
        """Returns the numbers of batches that torch counts, 0, for the norms of an `objective`.

        `architecture` is the class of the folder; `spec` is not read.
        """
        prefix = _prefix(architecture)
        names = (f"{prefix}{part.theirs}.normalization" for part in parts(objective.encoder))
        return {f"{name}.num_batches_tracked": np.zeros((), np.int64) for name in names}

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on images as in `spec`, for an `architecture`."""
        encoder = objective.encoder
        check_fields(encoder, "the encoder", "ResNet", {"stem": "imagenet", "norm": "batch"})
        counts, bottleneck = DEPTHS[encoder.depth]
        labels = {} if architecture == "ResNetModel" else {"num_labels": 0}
        return labels | {
            "architectures": [architecture],
            "model_type": "resnet",
            "num_channels": spec.channels,
            "embedding_size": encoder.width,
            "hidden_sizes": _widths(encoder),
            "depths": list(counts),
            "layer_type": "bottleneck" if bottleneck else "basic",
            "hidden_act": "relu",
            "downsample_in_first_stage": False,
            "downsample_in_bottleneck": encoder.bottleneck_stride == "1x1",
        }

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        encoder = getattr(objective, "encoder", None)
        if not isinstance(encoder, ResNetConfig) or isinstance(objective, ImageText):
            raise InputError(f"a {type(objective).__name__} has no network of ResNet alone")
        return "ResNetModel"

    def preprocessor(self, objective: Any, spec: Any) -> dict[str, Any]:
        """Returns the preprocessor_config.json of an `objective` on images as in `spec`."""
        return preprocessor(first_views(objective), spec, "ViTImageProcessor")


@dataclass(frozen=True)
class Part:
    """A convolution with the norm behind it."""

    theirs: str
    """What the names of theirs begin with, below the network."""
    convolution: str
    """Path of our convolution, below the encoder."""
    norm: str
    """Path of our norm, below the encoder."""
    statistics: str
    """Path of its running statistics, below those of the encoder."""


def parts(encoder: ResNetConfig) -> Iterator[Part]:
    """Yields all convolutions of an `encoder` with their norms, from the stem on."""
    yield Part("embedder.embedder", "stem", "stem_norm", "0")
    counts, bottleneck = DEPTHS[encoder.depth]
    places = [(stage, layer) for stage, count in enumerate(counts) for layer in range(count)]
    inner = 3 if bottleneck else 2
    for number, (stage, layer) in enumerate(places):
        theirs, ours = f"encoder.stages.{stage}.layers.{layer}", f"blocks/{number}"
        for i in range(inner):
            yield Part(
                f"{theirs}.layer.{i}",
                f"{ours}/convolutions/{i}",
                f"{ours}/norms/{i}",
                f"{number + 1}/{i}",
            )
        if has_shortcut(encoder, number):
            yield Part(
                f"{theirs}.shortcut",
                f"{ours}/shortcut",
                f"{ours}/shortcut_norm",
                f"{number + 1}/{inner}",
            )


def has_shortcut(encoder: ResNetConfig, number: int) -> bool:
    """Returns whether block `number` of an `encoder` has a convolution in its shortcut."""
    inputs, inner, stride = encoder.block_shapes()[number]
    return stride > 1 or inputs != inner * (EXPANSION if DEPTHS[encoder.depth][1] else 1)


def _prefix(architecture: str) -> str:
    return "" if architecture == "ResNetModel" else "resnet."


def _depth(config: Mapping[str, Any]) -> Any:
    """The number of layers in the name of the network."""
    bottleneck = chosen(config, "layer_type", IS_BOTTLENECK, "bottleneck")
    counts = config.get("depths", [3, 4, 6, 3])
    for depth, (own, is_bottleneck) in DEPTHS.items():
        if list(own) == counts and is_bottleneck == bottleneck:
            return depth
    raise InputError(
        f"config.json has depths={short(counts)} with layer_type={short(config.get('layer_type'))}; these "
        f"can be imported: {', '.join(f'ResNet-{depth}' for depth in DEPTHS)}"
    )


def _widths(encoder: ResNetConfig) -> list[int]:
    """The channels behind every stage."""
    factor = EXPANSION if DEPTHS[encoder.depth][1] else 1
    return [encoder.width * 2**stage * factor for stage in range(len(DEPTHS[encoder.depth][0]))]


FAMILY = Resnet()
