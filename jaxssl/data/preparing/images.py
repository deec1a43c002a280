"""Images to shards of one size, once: list, decode, resize, write.

    1. list     names, labels and captions of all images: the split and the labels are settled, and the
                captions' tokenizer is trained on those that are not held out
    2. units    reads the images, some thousands at a time; workers decode them and write a shard each
    3. finish   names the shards, writes the manifest, and renames `FOLDER.partial` to `FOLDER`

Whatever was finished when a run was killed is found again, as for text (`prepare.py`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxssl.data.prepared.image_manifest import (
    NO_LABEL,
    ImageManifest,
    ImageShard,
    read_image_manifest,
)
from jaxssl.data.prepared.manifest import TOKENIZER
from jaxssl.data.preparing.folder import check_same, make_folder, named, units_of
from jaxssl.data.preparing.image_units import ImageJob, Loaded
from jaxssl.data.preparing.split import SplitByName, SplitSeeker, name_hash
from jaxssl.data.preparing.units import Unit, cut_units, finished_shard, row_dtype
from jaxssl.data.preparing.workers import write_units
from jaxssl.data.preparing.writing import finish_set, write_shards
from jaxssl.data.progress import TextProgress
from jaxssl.data.sources.decode_image import Fit
from jaxssl.data.sources.images import ImageSource, Picture
from jaxssl.data.stores.descriptions import described
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, train_sentencepiece
from jaxssl.errors import InputError

LISTED = "listed.json"


@dataclass(frozen=True)
class Captions:
    """How captions become tokens: begin, the caption, end, then pad."""

    tokenizer: SentencePiece | str = SentencePiece(vocab_size=4096)  # trained, or the path of one
    length: int = 32  # tokens of a caption; longer ones are cut

    def __post_init__(self) -> None:
        if self.length < 3:
            raise InputError(f"length={self.length} has no room for a token; take at least 3")


@dataclass(frozen=True)
class PrepareImages:
    """What is prepared, and how."""

    source: ImageSource
    height: int = 32
    width: int = 32
    channels: Literal[1, 3] = 3  # grey, or red, green and blue
    fit: Fit = "crop"  # to the middle of that shape, or "pad" with white, or "stretch"
    valid: ImageSource | float = 0.02  # a source of its own, or the share of images held out
    captions: Captions | None = None  # of image-text pairs
    on_broken: Literal["stop", "skip"] = (
        "stop"  # at the first that cannot be decoded; or leave them out
    )
    shard_bytes: int = 32_000_000  # of pixels in a shard
    workers: int | None = None  # processes; one a core if None. The result does not depend on it

    def __post_init__(self) -> None:
        for name, least in (("height", 1), ("width", 1), ("shard_bytes", 1), ("workers", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name}={value} must be at least {least}")
        if self.channels not in (1, 3):
            raise InputError(f"channels={self.channels} must be 1 (grey) or 3 (colours)")
        if self.fit not in ("crop", "pad", "stretch"):
            raise InputError(f"fit={self.fit!r} is unknown; use crop, pad or stretch")
        if self.on_broken not in ("stop", "skip"):
            raise InputError(f"on_broken={self.on_broken!r} is unknown; use stop or skip")
        if isinstance(self.valid, (int, float)):
            SplitSeeker(self.valid)

    def into(self, folder: str | Path) -> ImageManifest:
        """As `prepare_images`."""
        return prepare_images(self, folder)


def prepare_images(
    config: PrepareImages, folder: str | Path, progress: TextProgress | None = None
) -> ImageManifest:
    """Prepares images in `folder` and returns their manifest; goes on where a killed run stopped.

    A folder that holds the same already is left as it is: no image is read again. Raises InputError
    for bad input, for a folder that was prepared, or begun, with another configuration, and for one
    that holds something else. A folder on an object store is made in the cache first.
    """
    description = described(config)
    for name in ("workers", "on_broken"):  # on which nothing depends that is finished
        del description[name]
    with progress or TextProgress() as report:

        def write(partial: Path) -> ImageManifest:
            if (partial / LISTED).is_file():
                check_same(partial, read_json(partial / LISTED), description)
            listing = list_all(config)
            tokenizer = _caption_tokenizer(config, listing, partial)
            write_json(partial / LISTED, description)
            job = _job(config, tokenizer, partial)
            shards = _write_units(config, listing, job, report)
            return _finish(config, description, listing, job, shards, partial)

        return make_folder(folder, description, report, read=read_image_manifest, write=write)


class Listing(NamedTuple):
    """What there is, before an image is read."""

    split: SplitByName | None  # None where the held-out images are a source of their own
    labels: tuple[str, ...]
    images: int
    captions: list[str]  # of the images to train on, in a set of image-text pairs


def list_all(config: PrepareImages) -> Listing:
    """Goes through all names once. Raises InputError where there is nothing, or no caption."""
    seeker = SplitSeeker(config.valid) if isinstance(config.valid, (int, float)) else None
    count = 0
    labels: set[str] = set()
    captions: list[str] = []
    for source in _sources(config):
        for picture in source.pictures():
            held_out = seeker.add(picture.key) if seeker else source is not config.source
            count += 1
            if picture.label is not None:
                labels.add(picture.label)
            if config.captions is None:
                continue
            if picture.caption is None:
                raise InputError(f"image {picture.name} has no caption; leave out captions")
            if not held_out:
                captions.append(picture.caption)
    split = seeker.split() if seeker else None
    return Listing(split, tuple(sorted(labels, key=_natural)), count, captions)


def divide(config: PrepareImages, listing: Listing) -> Iterator[tuple[str, Picture]]:
    """All pictures with their split. Held-out ones come in the order of a hash of their names.

    So the first of them are as good a sample as all.
    """
    held_out: list[Picture] = []
    for picture in config.source.pictures():
        if listing.split and listing.split.of(picture.key) == "valid":
            held_out.append(picture)
        else:
            yield "train", picture
    if not isinstance(config.valid, (int, float)):
        held_out += config.valid.pictures()
    for picture in sorted(held_out, key=lambda picture: name_hash(picture.name)):
        yield "valid", picture


def _job(config: PrepareImages, tokenizer: Tokenizer | None, partial: Path) -> ImageJob:
    return ImageJob(
        folder=str(units_of(partial)),
        height=config.height,
        width=config.width,
        channels=config.channels,
        fit=config.fit,
        skips=config.on_broken == "skip",
        length=config.captions.length if config.captions else 0,
        dtype=row_dtype(tokenizer.vocab_size) if tokenizer else "",
        tokenizer=str(partial / TOKENIZER),
        fingerprint=tokenizer.fingerprint if tokenizer else "",
    )


def _sources(config: PrepareImages) -> Iterable[ImageSource]:
    own = [] if isinstance(config.valid, (int, float)) else [config.valid]
    return [config.source, *own]


def _caption_tokenizer(config: PrepareImages, listing: Listing, partial: Path) -> Tokenizer | None:
    """The tokenizer of the captions, once it was trained; it is left in `partial`."""
    if config.captions is None:
        return None
    if (partial / LISTED).is_file():
        return load_tokenizer(partial / TOKENIZER)
    wanted = config.captions.tokenizer
    found: Tokenizer = (
        load_tokenizer(wanted)
        if isinstance(wanted, str)
        else train_sentencepiece(listing.captions, wanted)
    )
    found.save(partial / TOKENIZER)
    return found


def _write_units(
    config: PrepareImages, listing: Listing, job: ImageJob, report: TextProgress
) -> dict[str, tuple[ImageShard, ...]]:
    """The shards of every split, in order: those that an earlier run has finished, and new ones."""
    size = job.record.itemsize
    report.begin("decoding", total_bytes=listing.images * size, things="images")
    numbers = {label: number for number, label in enumerate(listing.labels)}

    def units() -> Iterator[Unit]:
        for unit in cut_units(divide(config, listing), config.shard_bytes, lambda _: size):
            loaded = [
                Loaded(
                    picture.name,
                    picture.read(),
                    NO_LABEL if picture.label is None else numbers[picture.label],
                    picture.caption if config.captions else None,
                )
                for picture in unit.documents
            ]
            yield unit._replace(documents=loaded)

    def find(unit: Unit) -> ImageShard | None:
        shard = finished_shard(job.note(unit), ImageShard)
        return shard if shard and (config.on_broken == "skip" or not shard.skipped) else None

    return write_shards(
        units(),
        report,
        find=find,
        write=lambda units: write_units(units, job, config.workers),
        count=lambda shard: {"documents": shard.rows, "text_bytes": shard.rows * size},
    )


def _finish(
    config: PrepareImages,
    description: dict[str, Any],
    listing: Listing,
    job: ImageJob,
    shards: dict[str, tuple[ImageShard, ...]],
    partial: Path,
) -> ImageManifest:
    """Moves the shards to their names and writes the manifest: from here on the set is whole."""
    manifest = ImageManifest(
        height=config.height,
        width=config.width,
        channels=config.channels,
        labels=listing.labels,
        length=job.length,
        dtype=job.dtype,
        tokenizer=job.fingerprint,
        splits=named(shards),
        config=description,
    )
    return finish_set(manifest, shards, partial, needs="image that can be decoded")


def _natural(label: str) -> tuple[int, str]:
    """Numbers by their size, after them names by the alphabet."""
    return (len(label), label) if label.isdecimal() else (1 << 30, label)
