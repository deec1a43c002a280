"""What a folder of prepared images holds: as for rows of text (`manifest.py`), with other records.

manifest.json                             written last; a folder without it does not load
tokenizer/                                of the captions, where there are some
train-00000-of-00014.array_record         images, one record each: pixels, label, tokens
train-00000-of-00014.documents.npz        names of the images
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxssl.data.prepared.manifest import (
    FORMAT,
    file_sizes,
    fingerprint_of,
    from_content,
    read_content,
)
from jaxssl.errors import InputError

NO_LABEL = -1


@dataclass(frozen=True)
class ImageShard:
    """One file of images, the file of their names beside it, and what they count."""

    file: str
    documents_file: str
    rows: int  # images
    skipped: tuple[str, ...]  # names of those that could not be decoded
    cut: int  # captions that were longer than there was room
    sha256: str
    documents_sha256: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "skipped", tuple(self.skipped))  # JSON knows no tuples


@dataclass(frozen=True)
class ImageManifest:
    """All that a reader must know of a prepared set of images before it opens a shard."""

    height: int
    width: int
    channels: int  # 3: red, green, blue; 1: grey
    labels: tuple[str, ...]  # names of the classes; empty where images have none
    length: int  # tokens of a caption; 0 where images have none
    dtype: str  # of these
    tokenizer: str  # fingerprint of the captions' tokenizer in tokenizer/, or ""
    splits: dict[str, tuple[ImageShard, ...]]  # "train" and "valid"
    config: dict[str, Any]  # what `prepare` was asked for
    format: int = FORMAT

    def total(self, split: str, count: str) -> int:
        """The sum of one count ("rows", "cut") over the shards of a split."""
        return sum(getattr(shard, count) for shard in self.splits[split])

    @property
    def skipped(self) -> list[str]:
        """Names of the images that could not be decoded."""
        return [name for parts in self.splits.values() for part in parts for name in part.skipped]

    @property
    def record(self) -> np.dtype[Any]:
        """The type of an image on disk."""
        return record_of(self.height, self.width, self.channels, self.length, self.dtype)

    @property
    def fingerprint(self) -> str:
        """sha256 of everything that decides what a reader yields; where it came from does not."""
        return fingerprint_of(self)


def record_of(height: int, width: int, channels: int, length: int, dtype: str) -> np.dtype[Any]:
    """Pixels, the label's number and the caption's tokens, one after another without gaps."""
    fields: list[Any] = [("pixels", "u1", (height, width, channels)), ("label", "<i4")]
    if length:
        fields.append(("tokens", dtype, (length,)))
    return np.dtype(fields)


def read_image_manifest(folder: str | Path) -> ImageManifest:
    """The manifest of a prepared set of images. Raises InputError as `read_manifest` does."""
    content = read_content(folder)
    if "height" not in content:
        raise InputError(f"{folder} holds rows of text; read it with data=Rows(…), not Images(…)")
    content["labels"] = tuple(content.get("labels", ()))
    return from_content(content, folder, ImageManifest, ImageShard)


def summary_of_images(manifest: ImageManifest, folder: str | Path) -> str:
    """What a person likes to know of prepared images, in a few lines."""
    sizes: dict[str, int] = {}
    for split in manifest.splits:
        sizes |= file_sizes(folder, manifest, split)
    files = [shard.file for parts in manifest.splits.values() for shard in parts]
    megabytes = sum(sizes[file] for file in files) / 1e6
    size = f"{manifest.height}x{manifest.width}x{manifest.channels}"
    lines = [f"{folder}: images of {size}, {megabytes:,.1f} MB in {len(files)} shards"]
    for split in manifest.splits:
        cut = manifest.total(split, "cut")
        lines.append(
            f"  {split:<6}{manifest.total(split, 'rows'):>11,} images"
            + (f", {cut:,} captions cut to {manifest.length} tokens" if manifest.length else "")
        )
    if manifest.labels:
        shown = ", ".join(manifest.labels[:8]) + (", …" if len(manifest.labels) > 8 else "")
        lines.append(f"  {len(manifest.labels):,} labels: {shown}")
    if skipped := manifest.skipped:
        shown = ", ".join(skipped[:4]) + (", …" if len(skipped) > 4 else "")
        lines.append(f"  {len(skipped):,} could not be decoded and were left out: {shown}")
    return "\n".join(lines)
