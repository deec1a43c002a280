"""Prepares images once: lists, decodes, resizes them to one size, and writes shards.

    1. list     reads names, labels and captions of all images: finds the split and the labels, and trains
                the captions' tokenizer on those that are not held out
    2. units    reads the images, some thousands at a time; workers decode them and write a shard for each
                unit
    3. finish   names the shards, writes the manifest, and renames `FOLDER.partial` to `FOLDER`

A killed run can be continued: finished shards are reused, as for text (`texts.py`).
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
from jaxssl.data.preparing.units import LONGEST_ROW, Unit, cut_units, finished_shard, row_dtype
from jaxssl.data.preparing.workers import write_units
from jaxssl.data.preparing.writing import finish_set, write_shards
from jaxssl.data.progress import TextProgress
from jaxssl.data.sources.decode_image import Fit
from jaxssl.data.sources.folders import in_words
from jaxssl.data.sources.images import CaptionedImages, ImageFiles, ImageSource, Picture
from jaxssl.data.stores.descriptions import described
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, train_sentencepiece
from jaxssl.errors import InputError, check_at_most

LISTED = "listed.json"
LARGEST_SIDE = 8_192  # pixels: a larger image would take 200 MB
OF_CAPTIONS = SentencePiece(vocab_size=4096)  # the tokenizer that is trained by default


@dataclass(frozen=True)
class Captions:
    """Configuration of captions, which are stored as tokens: begin, the caption, end, then padding."""

    tokenizer: SentencePiece | str = OF_CAPTIONS
    """Configuration of a tokenizer to train on the captions, or the path of a finished tokenizer."""
    length: int = 32
    """Length of a caption in tokens, with begin and end, at least 3; longer captions are truncated."""

    def __post_init__(self) -> None:
        check_at_most(self, LONGEST_ROW, "length")
        if self.length < 3:
            raise InputError(
                f"length={self.length} has no room for a token; set length to at least 3"
            )


@dataclass(frozen=True)
class PrepareImages:
    """Configuration of the preparation of images."""

    source: ImageSource
    """The images."""
    height: int = 32
    """Height of the prepared images in pixels."""
    width: int = 32
    """Width of the prepared images in pixels."""
    channels: Literal[1, 3] = 3
    """3 for red, green and blue; 1 for greyscale."""
    fit: Fit = "crop"
    """How images of another aspect ratio are treated: "crop" keeps the centre, "pad" adds white borders,
    "stretch" distorts."""
    valid: ImageSource | float = 0.02
    """Held-out images for evaluation: the fraction of the images, in (0, 1), or a source."""
    captions: Captions | None = None
    """How captions are stored, for image-text pairs; None means without captions."""
    on_broken: Literal["stop", "skip"] = "stop"
    """Treatment of an image that cannot be decoded: "stop" raises InputError, "skip" leaves it out."""
    shard_bytes: int = 32_000_000
    """Upper limit of the records (pixels, label and tokens) of a shard, in bytes."""
    workers: int | None = None
    """Number of processes; None means one per core. The result does not depend on it."""

    def __post_init__(self) -> None:
        for name, least in (("height", 1), ("width", 1), ("shard_bytes", 1), ("workers", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name}={value} must be at least {least}")
            if name in ("height", "width") and value > LARGEST_SIDE:
                raise InputError(f"{name}={value} must be at most {LARGEST_SIDE} pixels")
        if self.channels not in (1, 3):
            raise InputError(
                f"channels={self.channels} must be 1 (greyscale) or 3 (red, green and blue)"
            )
        if self.fit not in ("crop", "pad", "stretch"):
            raise InputError(f"fit={self.fit!r} is unknown; use 'crop', 'pad' or 'stretch'")
        if self.on_broken not in ("stop", "skip"):
            raise InputError(f"on_broken={self.on_broken!r} is unknown; use 'stop' or 'skip'")
        if isinstance(self.valid, (int, float)):
            SplitSeeker(self.valid)

    def into(self, folder: str | Path) -> ImageManifest:
        """Prepares the images in `folder`; the same as `prepare_images`."""
        return prepare_images(self, folder)


def prepare_images(
    config: PrepareImages, folder: str | Path, progress: TextProgress | None = None
) -> ImageManifest:
    """Prepares images, or continues where a killed run stopped.

    If the folder has already been prepared with the same configuration, nothing is read or written.

    Args:
      config: Where the images are, and how they are decoded and split.
      folder: Folder of the prepared images, or a URL of an object store; the latter is prepared in
        the local cache and uploaded.
      progress: Where progress is shown; None means standard error.

    Returns:
      The manifest of the images.

    Raises:
      InputError: The input is missing or broken; or the folder was prepared, or begun, with another
        configuration, or contains something else.
    """
    description = described(config)
    for name in ("workers", "on_broken"):  # they do not affect a finished set
        del description[name]
    with progress or TextProgress() as report:

        def write(partial: Path) -> ImageManifest:
            if (partial / LISTED).is_file():
                check_same(partial, read_json(partial / LISTED, dict[str, Any]), description)
            listing = list_all(config)
            for line in listing.notes:
                report.say(line)
            tokenizer = _caption_tokenizer(config, listing, partial)
            write_json(partial / LISTED, description)
            job = _job(config, tokenizer, partial)
            shards = _write_units(config, listing, job, report)
            return _finish(config, description, listing, job, shards, partial)

        return make_folder(folder, description, report, read=read_image_manifest, write=write)


class Listing(NamedTuple):
    """What is known of the images before any is read."""

    split: SplitByName | None
    """Rule of the split; None if the held-out images are a source of their own."""
    labels: tuple[str, ...]
    """All labels in the order of their class ids: numbers by value, then names alphabetically."""
    images: int
    """Number of images, including the held-out ones."""
    captions: list[str]
    """Captions of the images that are not held out; [] if captions are not used."""
    notes: list[str]
    """Lines for the user: which files are left out, how many images have no label, and whether the
    source itself says what is held out."""


def list_all(config: PrepareImages) -> Listing:
    """Lists the names, labels and captions of all images of `config`.

    Raises:
      InputError: There are no images, too few to hold some out, or an image has no caption although
        captions are configured.
    """
    seeker = SplitSeeker(config.valid) if isinstance(config.valid, (int, float)) else None
    count, unlabelled, held_out_by_source = 0, 0, 0
    labels: set[str] = set()
    captions: list[str] = []
    for source in _sources(config):
        for picture in source.pictures():
            held_out = picture.part == "valid" or source is not config.source
            if seeker and not picture.part:
                held_out = seeker.add(picture.key)
            count += 1
            held_out_by_source += picture.part == "valid"
            unlabelled += picture.label is None
            if picture.label is not None:
                labels.add(picture.label)
            if config.captions is None:
                continue
            if picture.caption is None:
                raise InputError(
                    f"image {picture.name} has no caption; give it one, or set captions to None"
                )
            if not held_out:
                captions.append(picture.caption)
    split = seeker.split() if seeker and not held_out_by_source else None
    notes = _notes(config, unlabelled if labels else 0, held_out_by_source)
    return Listing(split, tuple(sorted(labels, key=_natural)), count, captions, notes)


def _notes(config: PrepareImages, unlabelled: int, held_out: int) -> list[str]:
    """Returns the lines for the user.

    Args:
      config: The sources.
      unlabelled: Number of images without a label, if others have one.
      held_out: Number of images that the source itself holds out.

    Raises:
      InputError: Images are held out both by the source itself and by `config.valid`.
    """
    notes = []
    for source in _sources(config):
        if isinstance(source, ImageFiles | CaptionedImages) and (left := source.left_out()):
            where = source.images if isinstance(source, CaptionedImages) else source.path
            notes.append(f"left out of {where}: {in_words(left)}")
    if unlabelled:
        notes.append(f"{unlabelled:,} images have no label")
    if held_out and not isinstance(config.valid, (int, float)):
        raise InputError(
            "the source holds out images of its own, in a folder such as val/; choose its train/ "
            "as the source, or set valid to a fraction"
        )
    if held_out:
        notes.append(
            f"the folders say what is held out: {held_out:,} images; valid={config.valid} is not used"
        )
    return notes


def divide(config: PrepareImages, listing: Listing) -> Iterator[tuple[str, Picture]]:
    """Lists all pictures with their split.

    Held-out pictures are ordered by a hash of their names, so that the first of them are a random
    sample.

    Args:
      config: The sources.
      listing: Listing of the same sources.

    Yields:
      Pairs of "train" or "valid" and the picture.
    """
    held_out: list[Picture] = []
    for picture in config.source.pictures():
        split = listing.split.of(picture.key) if listing.split else ""
        if "valid" in (picture.part, split):
            held_out.append(picture)
        else:
            yield "train", picture
    if not isinstance(config.valid, (int, float)):
        held_out += config.valid.pictures()
    for picture in sorted(held_out, key=lambda picture: name_hash(picture.name)):
        yield "valid", picture


def _job(config: PrepareImages, tokenizer: Tokenizer | None, partial: Path) -> ImageJob:
    """Returns what all units have in common."""
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
    """Returns the source of the images, and that of the held-out images if there is one."""
    own = [] if isinstance(config.valid, (int, float)) else [config.valid]
    return [config.source, *own]


def _caption_tokenizer(config: PrepareImages, listing: Listing, partial: Path) -> Tokenizer | None:
    """Loads or trains the tokenizer of the captions, and saves it in `partial`."""
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
    """Writes the shards that an earlier run has not finished, and returns the shards of each split."""
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
    """Moves the shards to their final names and writes the manifest, which completes the set."""
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
    """Returns a key that sorts numbers by value, and names alphabetically after them."""
    return (len(label), label) if label.isdecimal() else (1 << 30, label)
