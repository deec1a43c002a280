"""Batches of prepared images, uint8 as they are stored; crops and colours are made on the device.

    reader = Images("prepared/cifar10", batch=256).open("train", seed=0)
    images = reader.batch(1_000)["images"]                        # uint8 [rows, height, width, channels]

What order, mixtures and hosts do to the batches is in `reader.py`; the device's part is `jaxssl.augment`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, final

import numpy as np

from jaxssl.data.prepared.image_manifest import NO_LABEL, ImageManifest, read_image_manifest
from jaxssl.data.prepared.manifest import TOKENIZER
from jaxssl.data.preparing.images import PrepareImages, prepare_images
from jaxssl.data.reader import (
    BatchReader,
    PreparedSets,
    check_alike,
    matching_tokenizer,
    open_split,
)
from jaxssl.data.rows import TextSpec, check_tokens
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.stores.json_types import Limits
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer

# names of the arrays of a batch
IMAGES, LABELS, TOKENS, REAL = "images", "labels", "tokens", "real"
SPEC = "images.json"  # file in the folder of a run: the description of its images
LARGEST_SIDE, LONGEST_CAPTION = 1 << 16, 1 << 20  # beyond them images.json is damaged


@dataclass(frozen=True, eq=False)
class ImageSpec:
    """What a model and an objective must know of batches of images."""

    batch: int
    """Images of the global batch."""
    height: int
    """Height of an image, in pixels."""
    width: int
    """Width of an image, in pixels."""
    channels: int
    """3 for red, green and blue; 1 for grey."""
    labels: tuple[str, ...] = ()
    """Names of the classes, by label number. Empty: the images have no labels."""
    captions: TextSpec | None = None
    """Description of the captions. None: the images have no captions."""

    @property
    def classes(self) -> int:
        """Number of classes; 0 if the images have no labels."""
        return len(self.labels)

    @property
    def unit(self) -> str:
        """What the speed of a run is counted in."""
        return "images"

    @property
    def units(self) -> int:
        """Images of a global batch."""
        return self.batch

    @property
    def in_words(self) -> str:
        """The shape of an image, its labels and its caption as a phrase."""
        kinds = f", {self.classes} labels" if self.labels else ""
        if self.captions is not None:
            kinds += f", captions of {self.captions.in_words}"
        return f"{self.height}x{self.width}x{self.channels} pixels{kinds}"


@dataclass(frozen=True)
class StoredSpec:
    """The content of images.json."""

    height: Annotated[int, Limits(1, LARGEST_SIDE)]
    """Height of an image, in pixels."""
    width: Annotated[int, Limits(1, LARGEST_SIDE)]
    """Width of an image, in pixels."""
    channels: Literal[1, 3]
    """3 for red, green and blue; 1 for grey."""
    labels: tuple[str, ...]
    """Names of the classes, by label number."""
    length: Annotated[int, Limits(0, LONGEST_CAPTION)]
    """Tokens of a caption; 0 if the images have no captions."""


@final
@dataclass(frozen=True)
class Images(PreparedSets):
    """Prepared images to read: one folder, local or on an object store, or a mixture of several."""

    batch: int = 256
    """Images of the global batch, over all hosts."""
    prepare: PrepareImages | None = None
    """How the images are prepared if the folder does not exist yet. None: a missing folder is an error."""

    def open(self, split: str = "train", **options: Any) -> "ImageReader":
        """Opens the images of a split.

        Args:
          split: "train" or "valid".
          **options: Keyword arguments of `open_images`.
        """
        return open_images(self, split, **options)

    def read_spec(self, run: str | Path) -> tuple[ImageSpec, Tokenizer | None]:
        """Returns the description of the images that the run in the folder `run` was trained on.

        The second value is the tokenizer of their captions, or None if they have none.

        Raises:
          InputError: images.json or the tokenizer is missing or damaged.
        """
        stored = read_json(Path(run) / SPEC, StoredSpec)
        tokenizer = load_tokenizer(Path(run) / TOKENIZER) if stored.length else None
        captions = (
            TextSpec.of(tokenizer, batch=self.batch, length=stored.length) if tokenizer else None
        )
        shape = (stored.height, stored.width, stored.channels)
        return ImageSpec(self.batch, *shape, stored.labels, captions), tokenizer


@final
class ImageReader(BatchReader[ImageSpec, Tokenizer | None]):
    """Reads batches of images; `open_images` makes it."""

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Returns this host's rows of global batch number `step`:

            images   uint8 `[rows, height, width, channels]`
            labels   int32 `[rows]`, NO_LABEL (-1) for an image without one; only if the set has labels
            tokens   int32 `[rows, length]`; only if the set has captions
            real     bool `[rows]`, False for an image that only fills up the last batch; not if shuffled

        Shuffled images have no end. In order, `step` must be below `batches`, and the last batch is
        filled up with the first images, this time without labels and not real.
        """
        ids, again = [], []
        for part in self._parts:
            found = self._ids(step, part.start, part.stop)
            missing = np.arange(part.start + len(found), part.stop) + step * self.spec.batch
            ids += [found, missing % self.rows]
            again += [False] * len(found) + [True] * len(missing)
        records = self._files.read(np.concatenate(ids))
        batch = {IMAGES: np.ascontiguousarray(records["pixels"])}
        if self.spec.labels:
            batch[LABELS] = np.where(again, NO_LABEL, records["label"]).astype(np.int32)
        if self.spec.captions is not None:
            batch[TOKENS] = records["tokens"].astype(np.int32)
            check_tokens(batch[TOKENS], self.spec.captions.vocab_size, step)
        if not self._order.endless:
            batch[REAL] = ~np.array(again, bool)
        return batch

    def save_spec(self, run: str | Path) -> None:
        """Writes what `Images.read_spec` reads into the folder `run`: images.json and the tokenizer."""
        spec = self.spec
        write_json(
            Path(run) / SPEC,
            {
                "height": spec.height,
                "width": spec.width,
                "channels": spec.channels,
                "labels": spec.labels,
                "length": spec.captions.length if spec.captions else 0,
            },
        )
        if self.tokenizer is not None:
            self.tokenizer.save(Path(run) / TOKENIZER)


def open_images(
    config: Images,
    split: str = "train",
    *,
    seed: int,
    parts: Sequence[range] | None = None,
    shuffle: bool = True,
    sampled: bool = False,
    verify: bool = True,
) -> ImageReader:
    """Opens prepared images, and prepares them first if they are missing and `config.prepare` says how.

    Args:
      config: The prepared sets.
      split: "train" or "valid".
      seed: Seed of the order.
      parts: Ranges of images of the global batch that this host reads. None: all images.
      shuffle: Endless shuffled epochs if true, else every image once in the order it was written.
      sampled: Every image once, in a fixed order whose first part is an even sample of all images; it needs
        `shuffle=False`.
      verify: Whether every shard of the split is read once and its hash compared, at about 1 GB/s and
        core.

    Raises:
      InputError: A set is missing, incomplete or damaged, the tokenizer of its captions is not the one
        it was prepared with, or the sets of a mixture differ in shape, labels or captions.
    """
    manifests = [_manifest(path, config.prepare) for path in config.paths]
    alike = ("height", "width", "channels", "labels", "length", "tokenizer")
    check_alike(config.paths, manifests, alike)
    order: dict[str, Any] = {"seed": seed, "shuffle": shuffle, "sampled": sampled}
    opened = open_split(config, manifests, split, **order, verify=verify)
    first = manifests[0]
    tokenizer, captions = None, None
    if first.length:
        tokenizer = matching_tokenizer(config.paths[0], first.tokenizer)
        captions = TextSpec.of(tokenizer, batch=config.batch, length=first.length)
    spec = ImageSpec(
        config.batch, first.height, first.width, first.channels, first.labels, captions
    )
    return ImageReader(opened, spec, tokenizer, parts=parts)


def _manifest(path: str, config: PrepareImages | None) -> ImageManifest:
    return read_image_manifest(path) if config is None else prepare_images(config, path)
