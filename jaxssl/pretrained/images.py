"""A pretrained network off the disk, ready to describe images by its features.

embed = load_image_embedder("runs/simclr_cifar10")
features = embed(pixels)        # uint8 [images, height, width, channels] -> float32 [images, features]
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from jaxssl.augment import Augmentation, example_keys
from jaxssl.data.images import IMAGES, LABELS, ImageReader, Images, ImageSpec
from jaxssl.data.prepared.image_manifest import NO_LABEL
from jaxssl.data.progress import TextProgress
from jaxssl.errors import InputError
from jaxssl.models.resnet import ResNet
from jaxssl.models.vision_transformer import VisionTransformer
from jaxssl.pretrained.load import Pretrained, load_pretrained

Pixels = UInt8[np.ndarray, "images height width channels"]


@dataclass(frozen=True)
class ImageEmbedder:
    """An encoder, the statistics of its batch norms, and the compiled function that takes both."""

    compiled: Callable[[Any, Any, Pixels], Array]
    encoder: Any
    statistics: Any = None
    batch: int = 256

    def __call__(self, pixels: Pixels) -> Float[np.ndarray, "images features"]:
        """The features of every image, whole and unchanged, without dropout."""
        parts = []
        for first in range(0, max(len(pixels), 1), self.batch):
            rows = pixels[first : first + self.batch]
            rest = ((0, self.batch - len(rows)), (0, 0), (0, 0), (0, 0))
            found = self.compiled(self.encoder, self.statistics, np.pad(rows, rest))
            parts.append(np.asarray(found)[: len(rows)])
        return np.concatenate(parts)

    def another(self, encoder: Any, statistics: Any = None) -> "ImageEmbedder":
        """With other parameters; without statistics batch norms take the moments of the images at hand."""
        return dataclasses.replace(self, encoder=encoder, statistics=statistics)


def compile_features(objective: Any) -> Callable[[Any, Any, Pixels], Array]:
    """The function (encoder, statistics, uint8 images) -> features."""
    prepared = preparation(objective)

    def features(encoder: Any, statistics: Any, pixels: Array) -> Array:
        return encoder(prepared(pixels), statistics=statistics)[0]

    return jax.jit(features)


def preparation(objective: Any) -> Callable[[Array], Array]:
    """The function uint8 images -> what the objective's encoder reads: nothing is cropped or drawn.

    The size and the normalisation of the objective's first views are kept.
    """
    views = (views_of(objective) or [Augmentation()])[0]
    whole = Augmentation(
        size=views.size, crop=None, flip=0.0, mean=views.mean, deviation=views.deviation
    )

    def prepared(pixels: Array) -> Array:
        images = whole(pixels, example_keys(jax.random.key(0), len(pixels)))
        return objective.inputs(images)

    return prepared


def whole_views(views: Augmentation) -> Augmentation:
    """Views that neither crop nor change anything, of the same size and normalisation."""
    return Augmentation(
        size=views.size, crop=None, flip=0.0, mean=views.mean, deviation=views.deviation
    )


def views_of(value: Any) -> list[Augmentation]:
    """All views among the fields of an objective, at whatever depth."""
    if isinstance(value, Augmentation):
        return [value]
    if isinstance(value, tuple):
        parts = list(value)
    elif dataclasses.is_dataclass(value):
        parts = [getattr(value, field.name) for field in dataclasses.fields(value)]
    else:
        parts = []
    return [views for part in parts for views in views_of(part)]


def load_image_embedder(
    run: str | Path, which: Literal["best", "latest"] = "best"
) -> tuple[ImageEmbedder, Pretrained]:
    """The encoder of a pretraining on images, and what else the run has left.

    Raises InputError where there is no such run, or one that has no encoder of images.
    """
    pretrained = load_pretrained(run, which=which, carried=True)
    return embedder_of(pretrained.objective, pretrained.model, pretrained.carried, run), pretrained


def embedder_of(
    objective: Any, model: Any, carried: Any, run: str | Path = "this run"
) -> ImageEmbedder:
    """The encoder of a model, with the running statistics that its objective carries."""
    if not has_image_encoder(model):
        raise InputError(f"{run}: a {type(model).__name__} has no encoder of images")
    encoder, statistics = encoder_of(model, carried)
    return ImageEmbedder(compile_features(objective), encoder, statistics)


def encoder_of(model: Any, carried: Any) -> tuple[Any, Any]:
    """The encoder of a model, and the running statistics of its batch norms or None."""
    return model.encoder, carried["statistics"]["encoder"] if "statistics" in carried else None


def has_image_encoder(model: Any) -> bool:
    """Whether the model describes images by features."""
    return isinstance(getattr(model, "encoder", None), ResNet | VisionTransformer)


def open_some(data: Images, split: str, images: int, *, seed: int = 0) -> ImageReader:
    """A reader of which the first `images` are any: a set may be sorted by its labels.

    All of them are read in order. The batch is at most so many images.
    """
    small = dataclasses.replace(data, batch=min(data.batch, images))
    reader = small.open(split, seed=seed, shuffle=False)
    if images >= reader.rows:
        return reader
    return small.open(split, seed=seed, shuffle=True, verify=False)


def embed_split(
    embed: ImageEmbedder | None, reader: ImageReader, limit: int, progress: TextProgress, name: str
) -> tuple[Float[np.ndarray, "images features"], Int[np.ndarray, " images"]]:
    """Features, or pixels where `embed` is None, and labels of the first `limit` images with a label."""
    features, labels, count = [], [], 0
    progress.begin(name, things="images")
    for pixels, own in labelled(reader):
        pixels, own = pixels[: limit - count], own[: limit - count]
        flat = pixels.reshape(len(pixels), -1) / np.float32(255)
        features.append(flat if embed is None else embed(pixels))
        labels.append(own)
        count += len(own)
        progress.add(documents=len(own), text_bytes=pixels.nbytes)
        if count == limit:
            break
    if not count:
        raise InputError(f"{name}: no image has a label; pass --data with a set that has labels")
    return np.concatenate(features), np.concatenate(labels)


def labelled(reader: ImageReader) -> Iterator[tuple[Pixels, Int[np.ndarray, " images"]]]:
    """The images of a split that have a label, once."""
    for number in range(reader.batches):
        batch = reader.batch(number)
        if LABELS in batch:
            has = batch[LABELS] != NO_LABEL
            yield batch[IMAGES][has], batch[LABELS][has]


def random_encoder(objective: Any, spec: ImageSpec, seed: int) -> Any:
    """A network of the objective's that has learned nothing."""
    return jax.jit(lambda key: objective.init(key, spec).encoder)(jax.random.key(seed))
