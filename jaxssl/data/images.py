"""Batches of prepared images: batch t is a pure function of (manifest, seed, t), on any host count.

They are read as they were stored, uint8; crops and colours are made on the device
(`jaxssl.augment`). Order, mixtures and hosts are those of rows of text (`loader.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxssl.data.prepared.image_manifest import NO_LABEL, ImageManifest, read_image_manifest
from jaxssl.data.prepared.manifest import TOKENIZER, verify_shards
from jaxssl.data.prepared.order import Order
from jaxssl.data.prepared.shards import RowFiles
from jaxssl.data.preparing.images import PrepareImages, prepare_images
from jaxssl.data.rows import (
    TextSpec,
    check_mixture,
    choose_order,
    fingerprint_of_batches,
    ids_of_batch,
    matching_tokenizer,
)
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.stores.shard_cache import shard_cache
from jaxssl.data.stores.store import is_url
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError

IMAGES, LABELS, TOKENS = "images", "labels", "tokens"  # names in a batch
SPEC = "images.json"  # in the folder of a run: the description of its images


@dataclass(frozen=True, eq=False)
class ImageSpec:
    """What a model and an objective must know of the batches."""

    batch: int  # images of the global batch
    height: int
    width: int
    channels: int  # 3 or 1
    labels: tuple[str, ...] = ()  # names of the classes; empty where there are none
    captions: TextSpec | None = None  # of the captions, where there are some

    @property
    def classes(self) -> int:
        """How many labels there are; 0 where there are none."""
        return len(self.labels)

    @property
    def unit(self) -> str:
        """What the speed of a run counts."""
        return "images"

    @property
    def units(self) -> int:
        """Images of a batch."""
        return self.batch

    @property
    def in_words(self) -> str:
        """A row in words."""
        kinds = f", {self.classes} labels" if self.labels else ""
        if self.captions is not None:
            kinds += f", captions of {self.captions.in_words}"
        return f"{self.height}x{self.width}x{self.channels} pixels{kinds}"


@dataclass(frozen=True)
class Images:
    """Prepared images to read: a folder, here or on an object store, or several as a mixture."""

    path: str | tuple[str, ...]  # or s3://…, gs://…
    batch: int = 256  # images of the global batch
    weights: tuple[float, ...] = ()  # of a mixture; in proportion to the images if empty
    prepare: PrepareImages | None = None  # makes the folder where it is missing
    cache: str = ""  # folder for shards of object stores; $JAXSSL_CACHE, else ~/.cache/jaxssl
    cache_gib: float = 50.0  # it never takes more

    def __post_init__(self) -> None:
        check_mixture(self)

    @property
    def paths(self) -> tuple[str, ...]:
        """The folders, also where there is only one."""
        return (self.path,) if isinstance(self.path, str) else tuple(self.path)

    def open(self, split: str = "train", **options: Any) -> "ImageReader":
        """As `open_images`."""
        return open_images(self, split, **options)

    def read_spec(self, run: str | Path) -> tuple[ImageSpec, Tokenizer | None]:
        """The images that a run was trained on, and the tokenizer of their captions."""
        stored = read_json(Path(run) / SPEC)
        length = stored.pop("length")
        tokenizer = load_tokenizer(Path(run) / TOKENIZER) if length else None
        captions = TextSpec.of(tokenizer, batch=self.batch, length=length) if tokenizer else None
        labels = tuple(stored.pop("labels"))
        return ImageSpec(self.batch, **stored, labels=labels, captions=captions), tokenizer


class ImageReader:
    """Reads batches; made by `open_images`. Keeps no state but open files."""

    spec: ImageSpec
    tokenizer: Tokenizer | None  # of the captions
    fingerprint: str  # of manifests, split, seed, batch and order: what a resumed run compares
    rows: int  # images of the split, over all sets
    stored_bytes: int  # of the shards that are on object stores
    batches: int  # in order: all, the last one filled up; shuffled: the whole ones of an epoch

    def __init__(
        self,
        files: RowFiles,
        order: Order,
        spec: ImageSpec,
        tokenizer: Tokenizer | None,
        *,
        fingerprint: str,
        parts: Sequence[range] | None = None,
    ):
        self.spec, self.tokenizer, self.fingerprint = spec, tokenizer, fingerprint
        self.rows, self.stored_bytes = files.rows, files.stored_bytes
        self.batches = order.batches(spec.batch)
        self._files, self._order = files, order
        self._parts = [range(spec.batch)] if parts is None else list(parts)

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """The parts of this host of global batch `step`:

            images   uint8 [rows, height, width, channels]
            labels   int32 [rows], NO_LABEL where an image has none; only where the set has labels
            tokens   int32 [rows, length], only where the set has captions

        Shuffled images go on for ever; in order, `step` must be below `batches`, and the last batch
        is filled up with the first images once more, there without a label.
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
        return batch

    def row_ids(self, step: int) -> np.ndarray:
        """int64 ids of the images of the global batch, over all hosts; each once."""
        return self._ids(step, 0, self.spec.batch)

    def documents(self, row_ids: Sequence[int] | np.ndarray) -> list[str]:
        """Names of these images, in order. In a mixture the folder stands before the name."""
        return self._files.documents(row_ids)

    def save_spec(self, run: str | Path) -> None:
        """Leaves in the folder of a run what `Images.read_spec` reads."""
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

    def _ids(self, step: int, start: int, stop: int) -> np.ndarray:
        return ids_of_batch(self._order, self.batches, step, self.spec.batch, start, stop)


def open_images(
    config: Images,
    split: str = "train",
    *,
    seed: int,
    parts: Sequence[range] | None = None,
    shuffle: bool = True,
    verify: bool = True,
) -> ImageReader:
    """Opens prepared images, and prepares them first where `config.prepare` says how.

    `parts` are the rows of the global batch that this host reads; all of them if None.
    `verify` reads every shard of the split once and compares its hash, at about 1 GB/s a core.
    Raises InputError for a set that is missing, half-written or corrupt, for a tokenizer that does
    not belong to it, and for a mixture that does not fit together.
    """
    manifests = [_manifest(path, config.prepare) for path in config.paths]
    _check_alike(config.paths, manifests)
    first = manifests[0]
    for path, manifest in zip(config.paths, manifests, strict=True):
        if not manifest.splits.get(split):
            raise InputError(f"{path} has no split {split!r}; it has {', '.join(manifest.splits)}")
        if verify and not is_url(path):  # what is fetched is always compared
            verify_shards(path, manifest, split)
    files = RowFiles(
        config.paths, manifests, split, partial(shard_cache, config.cache, config.cache_gib)
    )
    order = choose_order(files, config.weights, seed, shuffle=shuffle)
    tokenizer, captions = None, None
    if first.length:
        tokenizer = matching_tokenizer(config.paths[0], first.tokenizer)
        captions = TextSpec.of(tokenizer, batch=config.batch, length=first.length)
    return ImageReader(
        files,
        order,
        ImageSpec(config.batch, first.height, first.width, first.channels, first.labels, captions),
        tokenizer,
        fingerprint=fingerprint_of_batches(manifests, split, config.batch, order),
        parts=parts,
    )


def _manifest(path: str, config: PrepareImages | None) -> ImageManifest:
    return read_image_manifest(path) if config is None else prepare_images(config, path)


def _check_alike(paths: Sequence[str], manifests: Sequence[ImageManifest]) -> None:
    """All sets of a mixture must have images of one size, the same labels and one tokenizer."""
    first = manifests[0]
    for path, manifest in zip(paths, manifests, strict=True):
        for name in ("height", "width", "channels", "labels", "length", "tokenizer"):
            if (found := getattr(manifest, name)) != (wanted := getattr(first, name)):
                raise InputError(
                    f"{path} has {name} {found} and {paths[0]} {wanted}; prepare them alike"
                )
