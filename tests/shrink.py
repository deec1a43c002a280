"""Recipes made small enough for a test: the real loop, over rows of a tiny corpus or over tiny images."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from jaxssl.augment import Augmentation, MultiCrop
from jaxssl.data.images import Images
from jaxssl.data.preparing.images import Captions, PrepareImages, prepare_images
from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.rows import Rows
from jaxssl.data.sources.images import CaptionedImages, ImageArrays
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import ImageText
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.config import Pretraining, load_config
from tests.data.tiny_corpus import Side, Words, write_vocabulary
from tests.tiny import tiny_images

LENGTH = 32
WORDS = (
    "red",
    "blue",
    "green",
    "dark",
    "light",
    "round",
    "near",
    "far",
    "left",
    "right",
    "up",
    "down",
)
HEADS = ("projector", "predictor")  # fields with the widths of a head's layers


@dataclass(frozen=True)
class OneDevice:
    """Takes the place of a `Mesh`: one of the simulated devices compiles faster than eight."""

    def make(self) -> jax.sharding.Mesh:
        return Mesh().make(jax.devices()[:1])


def prepare_words(folder: Path, **vocabulary: int) -> str:
    """A prepared set of random words, of 32 tokens a row."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_vocabulary(folder, **vocabulary)
    train, valid = (Side(Words(count=80), held_out) for held_out in (False, True))
    config = Prepare(train, length=LENGTH, tokenizer=tokenizer, valid=valid, workers=1)
    prepare(config, folder / "rows")
    return str(folder / "rows")


def prepare_pictures(folder: Path) -> str:
    """A prepared set of 80 tiny images, made once."""
    if not folder.exists():
        arrays = folder.with_suffix(".npz")
        np.savez(arrays, images=tiny_images(batch=80), labels=np.arange(80) % 2)
        config = PrepareImages(ImageArrays(str(arrays)), 16, 16, valid=0.3, workers=1)
        prepare_images(config, folder)
    return str(folder)


def prepare_pairs(folder: Path) -> str:
    """A prepared set of 80 tiny images with captions, made once."""
    if not folder.exists():
        files = folder.with_name("files")
        files.mkdir(exist_ok=True)
        lines = []
        for number, image in enumerate(tiny_images(batch=80)):
            Image.fromarray(image).save(files / f"{number}.png")
            words = " ".join(WORDS[number * step % len(WORDS)] for step in (1, 5, 7, 11))
            lines.append(json.dumps({"image": f"{number}.png", "caption": words}))
        listed = folder.with_suffix(".jsonl")
        listed.write_text("\n".join(lines), encoding="utf-8")
        captions = Captions(SentencePiece(vocab_size=290), length=16)
        source = CaptionedImages(str(listed), str(files))
        config = PrepareImages(source, 16, 16, valid=0.3, captions=captions, workers=1)
        prepare_images(config, folder)
    return str(folder)


def shrink_transformer(config: TransformerConfig) -> TransformerConfig:
    kv_heads = None if config.kv_heads is None else 1
    return dataclasses.replace(
        config,
        depth=2,
        width=32,
        heads=2,
        kv_heads=kv_heads,
        mlp=64,
        max_length=LENGTH,
        window=None if config.window is None else 8,
        compute_dtype="float32",
    )


def shrink_part(value: Any) -> Any:
    """A network, or views, as small as the tests need them; anything else as it is."""
    match value:
        case TransformerConfig():
            return shrink_transformer(value)
        case VisionTransformerConfig():
            blocks = shrink_transformer(value.blocks)
            return dataclasses.replace(value, blocks=blocks, patch=4)
        case ResNetConfig():
            changes = {"depth": 10, "width": 8, "stem": "cifar", "compute_dtype": "float32"}
            return dataclasses.replace(value, **changes)
        case Augmentation():
            return dataclasses.replace(value, size=None)
        case MultiCrop():
            small = dataclasses.replace(value.small, size=(8, 8))
            return dataclasses.replace(value, large=shrink_part(value.large), small=small)
        case (Augmentation(), Augmentation()):
            return tuple(map(shrink_part, value))
    return value


def shrink_objective(objective: Any) -> Any:
    changes = {
        entry.name: shrink_part(getattr(objective, entry.name))
        for entry in dataclasses.fields(objective)
    }
    changes |= {name: (16,) * len(changes[name]) for name in HEADS if name in changes}
    if "prototypes" in changes:
        changes["prototypes"] = 24
    return dataclasses.replace(objective, **changes)


def shrink(path: str | Path, rows: str, run: Path, **changes: Any) -> Pretraining:
    """The recipe of a file with a tiny network, batch and number of steps; images lie beside the rows."""
    config = load_config(path, Pretraining)
    data: Rows | Images = Rows(rows, batch=16)
    if isinstance(config.data, Images):
        beside = Path(rows).parent
        if isinstance(config.objective, ImageText):
            data = Images(prepare_pairs(beside / "pairs"), batch=16)
        else:
            data = Images(prepare_pictures(beside / "pictures"), batch=16)
    small: dict[str, Any] = {
        "data": data,
        "objective": shrink_objective(config.objective),
        "mesh": OneDevice(),
        "microbatches": min(config.microbatches, 2),
        "start": "",
        "steps": 2,
        "run": str(run),
        "report_every": 1,
        "evaluate_every": 2,
        "evaluate_batches": 2,
        "save_every": 2,
        "export": False,
    }
    return dataclasses.replace(config, **{**small, **changes})
