"""The manifest of a prepared set of images. It is a folder like one of rows of text (`manifest.py`):

manifest.json                             written last; a folder without it cannot be opened
tokenizer/                                the tokenizer of the captions, if there are captions
train-00000-of-00014.array_record         images, one record each: pixels, label, tokens
train-00000-of-00014.documents.npz        names of the images
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, final

import numpy as np

from jaxssl.data.prepared.manifest import (
    FORMAT,
    LONGEST_ROW,
    Count,
    FileName,
    Hash,
    SetManifest,
    from_content,
    read_content,
)
from jaxssl.data.stores.json_types import Limits, Matches
from jaxssl.data.stores.names import SHA256
from jaxssl.errors import InputError

NO_LABEL = -1  # label number of an image without a label
LARGEST_IMAGE = 1 << 30  # bytes of pixels

Pixels = Annotated[int, Limits(1, 1 << 20)]


@final
@dataclass(frozen=True)
class ImageShard:
    """One file of images, the file of their names, and what they contain."""

    file: FileName
    """Name of the file of images."""
    documents_file: FileName
    """Name of the file that lists the names of the images."""
    rows: Count
    """Number of images."""
    skipped: tuple[str, ...]
    """Names of the images that could not be decoded and were left out."""
    cut: Count
    """Number of captions that were truncated to the length of a caption."""
    sha256: Hash
    """Hash of the file of images."""
    documents_sha256: Hash
    """Hash of the file of names."""


@final
@dataclass(frozen=True)
class ImageManifest(SetManifest):
    """Everything a reader must know of a prepared set of images before it opens a shard."""

    height: Pixels
    """Height of the images, in pixels."""
    width: Pixels
    """Width of the images, in pixels."""
    channels: Literal[1, 3]
    """3 for red, green and blue; 1 for grey."""
    labels: tuple[str, ...]
    """Names of the classes, by label number. Empty: the images have no labels."""
    length: Annotated[int, Limits(0, LONGEST_ROW)]
    """Tokens of a caption, special ones and padding included; 0 if the images have no captions."""
    dtype: Annotated[str, Matches("|uint16|uint32", "empty, uint16 or uint32")]
    """Type of the captions' ids on disk, uint16 or uint32; empty if there are none."""
    tokenizer: Annotated[str, Matches(f"|{SHA256.pattern}", f"empty or {SHA256.words}")]
    """Fingerprint of the captions' tokenizer; empty if there are none."""
    splits: dict[str, tuple[ImageShard, ...]]
    """Shards by split, "train" and "valid"."""
    config: dict[str, Any]
    """Description of the configuration that the images were prepared with."""
    format: int = FORMAT
    """Version of the format."""

    def __post_init__(self) -> None:
        if self.length and not (self.dtype and self.tokenizer):
            raise InputError(f"length is {self.length}, and captions need a dtype and a tokenizer")
        if (size := self.height * self.width * self.channels) > LARGEST_IMAGE:
            raise InputError(f"an image of {size:,} bytes is above the limit of {LARGEST_IMAGE:,}")

    @property
    def skipped(self) -> list[str]:
        """Names of all images that could not be decoded and were left out."""
        return [name for parts in self.splits.values() for part in parts for name in part.skipped]

    @property
    def record(self) -> np.dtype[Any]:
        """Type of an image on disk, with its label and caption."""
        return record_of(self.height, self.width, self.channels, self.length, self.dtype)

    def problem_in(self, records: np.ndarray) -> str:
        """Describes a label number in `records` that no label has; empty where there is none."""
        numbers = records["label"]
        wrong = numbers[(numbers < NO_LABEL) | (numbers >= max(len(self.labels), 1))]
        return f"the label number {wrong[0]} of {len(self.labels)} labels" if len(wrong) else ""

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, as they are stored in manifest.json."""
        return dataclasses.asdict(self)


def record_of(height: int, width: int, channels: int, length: int, dtype: str) -> np.dtype[Any]:
    """Returns the type of an image on disk: pixels, label number and caption, without gaps.

    Args:
      height: Height in pixels.
      width: Width in pixels.
      channels: 3 or 1.
      length: Tokens of a caption; 0 for images without captions.
      dtype: Type of the captions' ids.

    Returns:
      A structured type with the fields `pixels` (uint8 `[height, width, channels]`), `label` (int32) and,
      if `length` is positive, `tokens` (`[length]`).
    """
    fields: list[Any] = [("pixels", "u1", (height, width, channels)), ("label", "<i4")]
    if length:
        fields.append(("tokens", dtype, (length,)))
    return np.dtype(fields)


def read_image_manifest(folder: str | Path) -> ImageManifest:
    """Returns the manifest of a prepared set of images.

    Args:
      folder: Folder of the set, local or a URL of an object store.

    Raises:
      InputError: The folder is missing, incomplete, contains text or something else, or its manifest has
        another version or lacks a field.
    """
    content = read_content(folder)
    if "height" not in content:
        raise InputError(f"{folder} holds rows of text; read it with data=Rows(…), not Images(…)")
    return from_content({"labels": [], **content}, folder, ImageManifest)
