"""What is measured: the recipes, the rows that they get, and their sizes on a small machine."""

import dataclasses
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxssl.augment import Augmentation
from jaxssl.data.images import ImageSpec
from jaxssl.data.rows import TextSpec
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import Electra
from jaxssl.planning.assumed_rows import assumed_rows
from jaxssl.training.config import Pretraining, load_config

ROOT = Path(__file__).parents[2]
Spec = TextSpec | ImageSpec


@dataclass(frozen=True)
class Case:
    """A recipe and the rows that it is measured with."""

    recipe: str
    """Name of the file in `configs/`."""
    batch: int
    """Rows of a device of 80 GB."""
    rows: dict[str, Any]
    """Arguments of `assumed_rows`."""


# Published vocabularies; GPT-2's is padded to a multiple of 64, on both sides.
CASES = {
    "bert_base": Case("bert_base", 64, {"length": 512, "vocab_size": 30_522}),
    "modernbert_base": Case("modernbert_base", 16, {"length": 1024, "vocab_size": 50_368}),
    "gpt2_small": Case("gpt2_small", 32, {"length": 1024, "vocab_size": 50_304}),
    "electra_base": Case("electra_base", 64, {"length": 512, "vocab_size": 30_522}),
    "simclr_resnet50": Case("simclr_resnet50_imagenet", 128, {"size": (256, 256)}),
    "mae_vitb16": Case("mae_vitb16", 256, {"size": (256, 256)}),
}
BASE_MEMORY = 85e9  # bytes of the device that `Case.batch` is for: an H100 or A100 of 80 GB
TINY_BATCH, TINY_LENGTH, TINY_VOCABULARY, TINY_SIDE = 4, 64, 512, 32


def batch_for(case: Case, memory: float, *, tiny: bool = False) -> int:
    """Chooses the rows of a device: those of 80 GB in proportion to its memory, as a power of two.

    Args:
      case: What is measured.
      memory: Bytes of the device's memory.
      tiny: Whether everything is shrunk.
    """
    if tiny:
        return TINY_BATCH
    return 2 ** max(1, round(math.log2(case.batch * memory / BASE_MEMORY)))


def make_run(case: Case, batch: int, *, tiny: bool = False) -> tuple[Pretraining, Spec]:
    """Reads the recipe, and describes the rows of its global batch.

    Gradients are not accumulated: a step takes `batch` rows at once. Whatever else the recipe says stays.

    Args:
      case: What is measured.
      batch: Rows of all devices together.
      tiny: Whether to shrink networks and rows to what a CPU computes in a second.
    """
    config = load_config(ROOT / "configs" / f"{case.recipe}.py", Pretraining)
    objective = shrunk(config.objective) if tiny else config.objective
    data = replace(config.data, batch=batch)
    config = replace(config, data=data, objective=objective, microbatches=1)
    return config, assumed_rows(config, **(_tiny_rows(case) if tiny else case.rows))[0]


def _tiny_rows(case: Case) -> dict[str, Any]:
    if "size" in case.rows:
        return {"size": (TINY_SIDE, TINY_SIDE)}
    return {"length": TINY_LENGTH, "vocab_size": TINY_VOCABULARY}


def shrunk(part: Any) -> Any:
    """Returns a part of a recipe with small networks and small views; anything else as it is.

    Args:
      part: A configuration, such as an objective, or a value of one of its fields.
    """
    match part:
        case TransformerConfig():
            window = None if part.window is None else 8
            sizes = {"depth": 2, "width": 64, "heads": 2, "mlp": 128, "max_length": TINY_LENGTH}
            return replace(part, window=window, **sizes)
        case VisionTransformerConfig():
            return replace(part, blocks=shrunk(part.blocks), patch=8)
        case ResNetConfig():
            return replace(part, depth=10, width=16)
        case Augmentation():
            return replace(part, size=(TINY_SIDE, TINY_SIDE))
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return part
    parts = {entry.name: getattr(part, entry.name) for entry in dataclasses.fields(part)}
    return replace(part, **{name: shrunk(value) for name, value in parts.items()})


def random_rows(spec: Spec, seed: int = 0) -> dict[str, np.ndarray]:
    """Makes one batch: rows of one document each that fills the row, or images of random pixels.

    Args:
      spec: Description of the batch.
      seed: Seed of the numbers.
    """
    random = np.random.default_rng(seed)
    if isinstance(spec, ImageSpec):
        shape = (spec.batch, spec.height, spec.width, spec.channels)
        return {"images": random.integers(0, 256, shape, np.uint8)}
    ordinary = np.flatnonzero(~spec.special).astype(np.int32)
    tokens = random.choice(ordinary, (spec.batch, spec.length))
    tokens[:, 0] = spec.begin
    return {"tokens": tokens}


def shape_of(config: Pretraining, spec: Spec) -> dict[str, Any]:
    """Describes a run for the peer, which does not load jaxssl, in types that JSON has.

    Args:
      config: Configuration of the run.
      spec: Description of its rows.
    """
    rows = {"units": spec.units // spec.batch, "unit": spec.unit}
    if isinstance(spec, TextSpec):
        rows |= {"length": spec.length, "vocab_size": spec.vocab_size}
        rows |= {"specials": int(spec.special.sum()), "pad": spec.pad, "mask": spec.mask}
    objective, optimizer = config.objective, config.optimizer
    shape = {name: getattr(optimizer, name) for name in ("peak", "decay", "clip")}
    shape |= {"kind": type(objective).__name__, "objective": dataclasses.asdict(objective)}
    if isinstance(objective, Electra):
        shape["generator"] = dataclasses.asdict(objective.generator)
    return shape | {"rows": rows}
