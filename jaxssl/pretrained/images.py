"""Computes the features of images with the pretrained encoder of a run.

    embed, pretrained = load_image_embedder("runs/simclr_cifar10")
    features = embed(pixels)    # uint8 [images, height, width, channels] -> float32 [images, features]

Glossary of shapes:

    images      number of images          height, width, channels    of an image, as it was prepared
    features    width of the encoder's output
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from jaxssl.augment import Augmentation
from jaxssl.data.images import IMAGES, LABELS, REAL, ImageReader, Images, ImageSpec
from jaxssl.data.prepared.image_manifest import NO_LABEL
from jaxssl.data.progress import TextProgress
from jaxssl.errors import InputError
from jaxssl.models.resnet import ResNet
from jaxssl.models.vision_transformer import VisionTransformer
from jaxssl.pretrained.load import Pretrained, load_pretrained

MEASURED = 1024  # images on which the statistics of batch norms are measured
Pixels = UInt8[np.ndarray, "images height width channels"]


@dataclass(frozen=True)
class ImageEmbedder:
    """A function that computes the features of images with one encoder."""

    compiled: Callable[[Any, Any, Pixels], Array]
    """Compiled function of encoder, statistics and images; `compile_features` makes it."""
    encoder: Any
    """The pretrained encoder, a Flax module."""
    statistics: Any = None
    """Running statistics of the encoder's batch norms. None: they normalise by the images of each batch."""
    batch: int = 256
    """Number of images that are computed at a time."""
    channels: int | None = None
    """Channels that the encoder reads, 1 or 3; None does not check them."""

    def __call__(self, pixels: Pixels) -> Float[np.ndarray, "images features"]:
        """Computes the features of every image, without random crops or other changes and without dropout.

        Args:
          pixels: uint8 images, `[images, height, width, channels]`.

        Returns:
          Features in the order of the images, `[images, features]`.

        Raises:
          InputError: The images are not uint8 of that shape; numbers from 0 to 1 would be read as black. Or
            the encoder reads another number of channels.
        """
        if getattr(pixels, "dtype", None) != np.uint8 or pixels.ndim != 4:
            kind = getattr(pixels, "dtype", type(pixels).__name__)
            raise InputError(
                f"the images are {kind} of shape {np.shape(pixels)}; pass uint8 from 0 to 255 of shape "
                "[images, height, width, channels], for numbers from 0 to 1 (255 * x).round().astype('uint8')"
            )
        if self.channels not in (None, pixels.shape[3]):
            raise InputError(
                f"the images have channels {pixels.shape[3]} and those of the run {self.channels}; convert "
                "them"
            )
        parts = []
        for first in range(0, max(len(pixels), 1), self.batch):
            rows = pixels[first : first + self.batch]
            # An incomplete batch is filled up with its own images: without statistics, batch norms see them.
            filled = np.resize(rows, (self.batch, *rows.shape[1:]))
            found = self.compiled(self.encoder, self.statistics, filled)
            parts.append(np.asarray(found)[: len(rows)])
        return np.concatenate(parts)

    def with_parameters(self, encoder: Any, statistics: Any = None) -> "ImageEmbedder":
        """Returns the same function with the parameters of another `encoder` of the same shape.

        `statistics` are the running statistics of its batch norms; None as in the field.
        """
        return dataclasses.replace(self, encoder=encoder, statistics=statistics)


def compile_features(objective: Any) -> Callable[[Any, Any, Pixels], Array]:
    """Compiles the function that computes features with an encoder of `objective`.

    Its arguments are the encoder, the statistics of its batch norms (or None) and uint8 images
    `[images, height, width, channels]`; it returns `[images, features]`.
    """
    preprocess = make_preprocessing(objective)

    def features(encoder: Any, statistics: Any, pixels: Array) -> Array:
        return encoder(preprocess(pixels), statistics=statistics)[0]

    return jax.jit(features)


def make_preprocessing(objective: Any) -> Callable[[Array], Array]:
    """Returns the function from uint8 images to what the encoder of `objective` reads, without randomness.

    Size and normalisation are those of the first augmentation of the objective.
    """
    whole = whole_views((views_of(objective) or [Augmentation()])[0])

    def preprocess(pixels: Array) -> Array:
        # Nothing is drawn, so that one key serves all; their number may be unknown (StableHLO).
        keys = jnp.broadcast_to(jax.random.key(0), pixels.shape[:1])
        return objective.inputs(whole(pixels, keys))

    return preprocess


def whole_views(views: Augmentation) -> Augmentation:
    """Returns an augmentation that only resizes and normalises the images, as `views` does."""
    return Augmentation(size=views.size, crop=None, flip=0.0, mean=views.mean, std=views.std)


def views_of(value: Any) -> list[Augmentation]:
    """Returns all augmentations among the fields of `value`, such as an objective, at any depth."""
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
    """Loads the encoder of a run that was pretrained on images.

    Args:
      run: Folder of the run, or its URL.
      which: "best" takes the checkpoint with the best evaluation, "latest" the latest one.

    Returns:
      The function that computes features, and everything that `load_pretrained` has loaded.

    Raises:
      InputError: There is no run or no checkpoint, or its model has no encoder of images.
    """
    pretrained = load_pretrained(run, which=which, carried=True)
    embed = embedder_of(pretrained.objective, pretrained.model, pretrained.carried, run)
    return dataclasses.replace(embed, channels=pretrained.spec.channels), pretrained


def embedder_of(
    objective: Any, model: Any, carried: Any, run: str | Path = "this run"
) -> ImageEmbedder:
    """Makes the function that computes features with the encoder of a model.

    Args:
      objective: Objective that the model was trained with.
      model: Model with an `encoder` of images.
      carried: State that the objective carries, with the running statistics of batch norms if there are any.
      run: Name of the run in the error message.

    Raises:
      InputError: The model has no encoder of images.
    """
    if not has_image_encoder(model):
        raise InputError(f"{run}: a {type(model).__name__} has no encoder of images")
    encoder, statistics = encoder_of(model, carried)
    return ImageEmbedder(compile_features(objective), encoder, statistics)


def encoder_of(model: Any, carried: Any) -> tuple[Any, Any]:
    """Returns the encoder of `model` and, from `carried`, the statistics of its batch norms or None."""
    return model.encoder, carried["statistics"]["encoder"] if "statistics" in carried else None


def has_image_encoder(model: Any) -> bool:
    """Returns whether `model` has an encoder that computes features of images."""
    return isinstance(getattr(model, "encoder", None), ResNet | VisionTransformer)


def open_subset(data: Images, split: str, images: int, *, seed: int = 0) -> ImageReader:
    """Opens a split for reading a random subset of its images.

    A prepared set may be sorted by its labels, so its first images are no fair sample. If `images` is at
    least the size of the split, it is read in order; otherwise it is shuffled.

    Args:
      data: Prepared images.
      split: "train" or "valid".
      images: Number of images that the caller reads; the batch size is at most this number.
      seed: Seed of the shuffling.
    """
    small = dataclasses.replace(data, batch=min(data.batch, images))
    reader = small.open(split, seed=seed, shuffle=False)
    if images >= reader.rows:
        return reader
    return small.open(split, seed=seed, shuffle=True, verify=False)


def embed_split(
    embed: ImageEmbedder | None, reader: ImageReader, limit: int, progress: TextProgress, name: str
) -> tuple[Float[np.ndarray, "images features"], Int[np.ndarray, " images"]]:
    """Computes the features of the first `limit` images that have a label.

    Args:
      embed: Function that computes features; None takes the pixels themselves, scaled to 0 to 1.
      reader: Images in the order in which they are read.
      limit: Largest number of images.
      progress: Where the progress is shown.
      name: Name of this part in the progress and in the error message.

    Returns:
      Features, `[images, features]`, and labels, `[images]`.

    Raises:
      InputError: No image has a label.
    """
    features, labels, count = [], [], 0
    progress.begin(name, things="images")
    for pixels, own in labelled_batches(reader):
        pixels, own = pixels[: limit - count], own[: limit - count]
        flat = pixels.reshape(len(pixels), -1) / np.float32(255)
        features.append(flat if embed is None else embed(pixels))
        labels.append(own)
        count += len(own)
        progress.add(documents=len(own), text_bytes=pixels.nbytes)
        if count == limit:
            break
    if not count:
        raise InputError(f"{name}: no image has a label; set data to images that have labels")
    return np.concatenate(features), np.concatenate(labels)


def labelled_batches(reader: ImageReader) -> Iterator[tuple[Pixels, Int[np.ndarray, " images"]]]:
    """Iterates once over the batches of `reader`, without the images that have no label.

    Yields uint8 images `[images, height, width, channels]` and their labels `[images]`.
    """
    for number in range(reader.batches):
        batch = reader.batch(number)
        if LABELS in batch:
            has = batch[LABELS] != NO_LABEL
            yield batch[IMAGES][has], batch[LABELS][has]


def random_encoder(objective: Any, spec: ImageSpec, seed: int) -> Any:
    """Returns the encoder of the objective's model with random parameters.

    Args:
      objective: Objective whose `init` makes the model.
      spec: Description of the images.
      seed: Seed of the parameters.
    """
    return jax.jit(lambda key: objective.init(key, spec).encoder)(jax.random.key(seed))


def measure_statistics(
    objective: Any, encoder: Any, reader: ImageReader, images: int = MEASURED
) -> Any:
    """Measures the statistics of an encoder's batch norms, which a network that was not trained lacks.

    They are the mean of the moments of whole batches, as running statistics are.

    Args:
      objective: Objective that says what the encoder reads.
      encoder: The encoder.
      reader: Images to measure them on.
      images: Largest number of images.

    Returns:
      The statistics; None for an encoder without batch norms.
    """
    parts: list[np.ndarray] = []
    for number in range(reader.batches):
        batch = reader.batch(number)
        parts.append(batch[IMAGES][batch[REAL]] if REAL in batch else batch[IMAGES])
        if sum(map(len, parts)) >= images:
            break
    pixels = np.concatenate(parts)[:images]
    size, preprocess = min(reader.spec.batch, len(pixels)), make_preprocessing(objective)
    moments = jax.jit(lambda encoder, pixels: encoder(preprocess(pixels))[1])
    starts = range(0, len(pixels) - size + 1, size)
    found = [moments(encoder, pixels[start : start + size]) for start in starts]
    mean = jax.tree.map(lambda *parts: sum(parts) / len(parts), *found)
    return mean if jax.tree.leaves(mean) else None
