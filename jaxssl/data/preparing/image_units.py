"""Units of images: consecutive images of one split, which become one shard.

The counterpart of `units.py`, which is for text.
"""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL

from jaxssl.data.prepared.image_manifest import ImageShard, record_of
from jaxssl.data.prepared.manifest import FORMAT
from jaxssl.data.preparing.units import WRITER_OPTIONS, Unit, load_unchanged, write_files
from jaxssl.data.sources.decode_image import BrokenImage, Fit, Unreadable, decode
from jaxssl.data.sources.images import Content
from jaxssl.data.stores.json_files import write_json
from jaxssl.errors import InputError


class Loaded(NamedTuple):
    """A picture with its content, as it is sent to a worker."""

    name: str
    """Name of the picture."""
    content: Content
    """Bytes of a file of an image; pixels, `[height, width]` or `[height, width, channel]`; or
    `Unreadable`."""
    label: int
    """Class id; -1 if the picture has no label."""
    caption: str | None
    """Caption; None if it is not used."""


@dataclass(frozen=True)
class ImageJob:
    """What all units have in common. Each worker loads the tokenizer itself."""

    folder: str
    """Folder in which the shards are written."""
    height: int
    """Height of the written images in pixels."""
    width: int
    """Width of the written images in pixels."""
    channels: int
    """3 for red, green and blue; 1 for greyscale."""
    fit: Fit
    """How images of another aspect ratio are treated: "crop", "pad" or "stretch"."""
    skips: bool
    """Whether images that cannot be decoded are left out; otherwise they are an error."""
    length: int
    """Length of a caption in tokens; 0 without captions."""
    dtype: str
    """Type of the captions' token ids on disk, "uint16" or "uint32"; "" without captions."""
    tokenizer: str
    """Folder of the captions' tokenizer."""
    fingerprint: str
    """Fingerprint of the captions' tokenizer; "" without captions."""

    @property
    def record(self) -> np.dtype[Any]:
        """Returns the type of a record: pixels, label and tokens."""
        return record_of(self.height, self.width, self.channels, self.length, self.dtype)

    def note(self, unit: Unit) -> Path:
        """Returns the path of the note of `unit`; it contains the hash of all that the shard depends on."""
        settings = (self.height, self.width, self.channels, self.fit, self.length, self.fingerprint)
        digest = hashlib.sha256(f"{FORMAT} {settings} {WRITER_OPTIONS} {PIL.__version__}".encode())
        for name, content, label, caption in unit.documents:
            for part in (name, str(label), caption or "", *_parts(content)):
                data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
                digest.update(len(data).to_bytes(8, "little"))
                digest.update(data)
        return Path(self.folder) / f"{unit.split}-{unit.number:05d}-{digest.hexdigest()[:16]}.json"

    def write(self, unit: Unit) -> ImageShard:
        """Decodes and writes the shard of `unit`; its note is written last. This runs in a worker.

        Raises:
          InputError: An image cannot be decoded, and `skips` is false.
        """
        records = np.zeros(len(unit.documents), self.record)
        names: list[str] = []
        skipped: list[str] = []
        captions: list[str] = []
        for loaded in unit.documents:
            record = records[len(names)]
            try:
                record["pixels"] = decode(
                    loaded.content, self.height, self.width, self.channels, self.fit
                )
            except BrokenImage as error:
                if not self.skips:
                    raise InputError(
                        f"image {loaded.name} cannot be decoded: {error}; fix it, or set on_broken to "
                        "'skip' to leave such images out"
                    ) from error
                skipped.append(loaded.name)
                continue
            record["label"] = loaded.label
            names.append(loaded.name)
            captions.append(loaded.caption or "")
        records = records[: len(names)]
        cut = self._encode(captions, records) if self.length else 0
        offsets = np.arange(len(names) + 1)
        note = self.note(unit)
        shard = ImageShard(
            **write_files(note, records, names, offsets, offsets[:-1]),
            rows=len(names),
            skipped=tuple(skipped),
            cut=cut,
        )
        write_json(note, dataclasses.asdict(shard))
        return shard

    def _encode(self, captions: list[str], records: np.ndarray) -> int:
        """Writes the captions' tokens into the records; returns how many captions were truncated."""
        tokenizer = load_unchanged(self.tokenizer, self.fingerprint)
        room, cut = self.length - 2, 0
        records["tokens"] = tokenizer.pad
        for row, ids in zip(records["tokens"], tokenizer.encode(captions), strict=True):
            cut += len(ids) > room
            ids = ids[:room]
            row[: len(ids) + 2] = [tokenizer.begin, *ids, tokenizer.end]
        return cut


def _parts(content: Content) -> tuple[str | bytes, ...]:
    """Returns the parts of a picture's content that its hash is computed from."""
    if isinstance(content, np.ndarray):
        return str(content.shape), content.tobytes()
    return (content.reason,) if isinstance(content, Unreadable) else (content,)
