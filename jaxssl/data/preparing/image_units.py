"""Units of images: some consecutive ones become one shard. What a worker does, as `units.py` for text."""

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
    """A picture with its content, on the way to a worker."""

    name: str
    content: Content
    label: int
    caption: str | None


@dataclass(frozen=True)
class ImageJob:
    """What is the same for all units. A worker loads the tokenizer by itself."""

    folder: str  # where shards go
    height: int
    width: int
    channels: int
    fit: Fit
    skips: bool
    length: int  # tokens of a caption; 0 without captions
    dtype: str
    tokenizer: str  # folder of the tokenizer
    fingerprint: str  # of the tokenizer

    @property
    def record(self) -> np.dtype[Any]:
        return record_of(self.height, self.width, self.channels, self.length, self.dtype)

    def note(self, unit: Unit) -> Path:
        """Where the counts of a finished unit are noted: by the hash of all that it depends on."""
        settings = (self.height, self.width, self.channels, self.fit, self.length, self.fingerprint)
        digest = hashlib.sha256(f"{FORMAT} {settings} {WRITER_OPTIONS} {PIL.__version__}".encode())
        for name, content, label, caption in unit.documents:
            for part in (name, str(label), caption or "", *_parts(content)):
                data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
                digest.update(len(data).to_bytes(8, "little"))
                digest.update(data)
        return Path(self.folder) / f"{unit.split}-{unit.number:05d}-{digest.hexdigest()[:16]}.json"

    def write(self, unit: Unit) -> ImageShard:
        """Decodes and writes one unit; the note with its counts and hashes is written last."""
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
                        f"image {loaded.name} cannot be decoded: {error}; mend it, or leave such "
                        "images out with --on-broken skip"
                    ) from error
                skipped.append(loaded.name)
                continue
            record["label"] = loaded.label
            names.append(loaded.name)
            captions.append(loaded.caption or "")
        records = records[: len(names)]
        cut = self._encode(captions, records) if self.length else 0
        places = np.arange(len(names) + 1)
        note = self.note(unit)
        shard = ImageShard(
            **write_files(note, records, names, places, places[:-1]),
            rows=len(names),
            skipped=tuple(skipped),
            cut=cut,
        )
        write_json(note, dataclasses.asdict(shard))
        return shard

    def _encode(self, captions: list[str], records: np.ndarray) -> int:
        """Puts the captions' tokens into the records; how many had to be cut."""
        tokenizer = load_unchanged(self.tokenizer, self.fingerprint)
        room, cut = self.length - 2, 0
        records["tokens"] = tokenizer.pad
        for row, ids in zip(records["tokens"], tokenizer.encode(captions), strict=True):
            cut += len(ids) > room
            ids = ids[:room]
            row[: len(ids) + 2] = [tokenizer.begin, *ids, tokenizer.end]
        return cut


def _parts(content: Content) -> tuple[str | bytes, ...]:
    """What a hash of a picture is taken of."""
    if isinstance(content, np.ndarray):
        return str(content.shape), content.tobytes()
    return (content.reason,) if isinstance(content, Unreadable) else (content,)
