"""Where images come from. A source is a frozen dataclass; `pictures()` lists it anew each time.

A list is quick: what a picture holds is read when it is asked for. The name of a picture is unique in
its source and stays when files are moved: it decides on which side of the split the picture falls.
"""

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from jaxssl.data.sources.decode_image import Unreadable
from jaxssl.data.sources.readers import (
    files_of,
    open_tensorflow_dataset,
    read_json_lines,
    value_of,
)
from jaxssl.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png")
Content = bytes | np.ndarray | Unreadable  # of a JPEG or PNG file, or its pixels


class Picture(NamedTuple):
    name: str
    read: Callable[[], Content]
    label: str | None = None
    caption: str | None = None
    group: str = ""  # pictures of a group fall to the same side of the split

    @property
    def key(self) -> str:
        """What decides on the side of the split."""
        return self.group or self.name


class ImageSource(Protocol):
    """Gives pictures. Raises InputError for whatever is missing or empty."""

    def pictures(self) -> Iterator[Picture]: ...


@dataclass(frozen=True)
class ImageFiles:
    """A folder (with its folders) or a ZIP of JPEG and PNG files, sorted; LABEL/NAME.

    The label is the name of the folder that an image lies in. Those at the top have none.
    """

    path: str

    def pictures(self) -> Iterator[Picture]:
        found = False
        for name, read in list_images(self.path):
            found = True
            *folders, _ = name.split("/")
            yield Picture(name, read, folders[-1] if folders else None)
        if not found:
            raise InputError(f"{self.path} holds no image; JPEG and PNG files are read")


@dataclass(frozen=True)
class CaptionedImages:
    """JSON lines, each with the name of an image and a caption; the images in a folder or a ZIP."""

    path: str  # of the .jsonl
    images: str  # folder or ZIP that the names are in
    image_column: str = "image"
    caption_column: str = "caption"

    def pictures(self) -> Iterator[Picture]:
        known = dict(list_images(self.images))
        for place, record in read_json_lines(self.path):
            name = str(value_of(record, self.image_column, place))
            caption = value_of(record, self.caption_column, place)
            if name not in known:
                raise InputError(f"{place} names image {name!r}, which is not in {self.images}")
            if not isinstance(caption, str) or not caption.strip():
                raise InputError(f"{place}: {self.caption_column!r} holds no caption")
            yield Picture(f"{place}:{name}", known[name], caption=caption, group=name)


@dataclass(frozen=True)
class ImageArrays:
    """A .npz with arrays of images, uint8 [n, height, width(, channel)], and of labels; or a .npy."""

    path: str
    images: str = "images"  # name in the .npz
    labels: str = "labels"  # name in the .npz; images have none where it is missing

    def pictures(self) -> Iterator[Picture]:
        pixels, labels = _load_arrays(self.path, self.images, self.labels, _version(self.path))
        yield from pictures_of(pixels, labels, Path(self.path).name)


@dataclass(frozen=True)
class TensorflowImages:
    """An image data set of tensorflow-datasets, by name or prepared folder; read without TensorFlow."""

    name: str
    split: str = "train"
    image_column: str = "image"
    label_column: str = "label"

    def pictures(self) -> Iterator[Picture]:
        builder, records = open_tensorflow_dataset(self.name, self.split, {self.image_column})
        kind = dict(builder.info.features).get(self.label_column)
        names = getattr(kind, "names", None)  # only a ClassLabel has them
        for number in range(len(records)):
            place = f"{builder.info.full_name}/{self.split}#{number}"
            record = records[number]
            image = value_of(record, self.image_column, place)
            label = record.get(self.label_column)
            if label is not None:
                label = names[int(label)] if names else str(label)
            yield Picture(place, partial(_same, image), label)


@dataclass(frozen=True)
class Digits:
    """The 1,797 handwritten digits that ship with scikit-learn: 8x8, grey, labelled."""

    def pictures(self) -> Iterator[Picture]:
        digits = _scikit_learn().load_digits()
        pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
        yield from pictures_of(pixels, digits.target, "digits")


@dataclass(frozen=True)
class Photographs:
    """Crops of the two photographs that ship with scikit-learn, 427x640: colour, labelled by photograph.

    Squares of `size` every `stride` pixels.
    """

    size: int = 64
    stride: int = 16

    def pictures(self) -> Iterator[Picture]:
        photographs = _scikit_learn().load_sample_images()
        for file, pixels in zip(photographs.filenames, photographs.images, strict=True):
            label = Path(file).stem
            height, width = pixels.shape[:2]
            for top in range(0, height - self.size + 1, self.stride):
                for left in range(0, width - self.size + 1, self.stride):
                    crop = pixels[top : top + self.size, left : left + self.size]
                    yield Picture(f"{label}/{top}-{left}", partial(_same, crop), label)


def image_source_from_path(
    path: str, *, captions: str | None = None, column: str | None = None
) -> ImageSource:
    """The source for a path: a folder or ZIP, .npz or .npy, tfds:NAME#SPLIT, digits, photographs.

    With `captions`, a .jsonl, the images in the folder or ZIP at `path` are those that it names.
    """
    if captions is not None:
        return CaptionedImages(captions, path, caption_column=column or "caption")
    if path in ("digits", "photographs"):
        return Digits() if path == "digits" else Photographs()
    if path.startswith("tfds:"):
        name, _, split = path.removeprefix("tfds:").partition("#")
        return TensorflowImages(name, split or "train")
    if Path(path).suffix in (".npz", ".npy"):
        return ImageArrays(path)
    return ImageFiles(path)


def pictures_of(pixels: np.ndarray, labels: np.ndarray | None, name: str) -> Iterator[Picture]:
    """The images of an array, named by their number."""
    for number, image in enumerate(pixels):
        label = None if labels is None else str(labels[number])
        yield Picture(f"{name}#{number}", partial(_same, image), label)


def list_images(path: str) -> Iterator[tuple[str, Callable[[], Content]]]:
    """(name, how to read it) of the JPEG and PNG files in a folder, a ZIP or a glob, sorted."""
    if not zipfile.is_zipfile(path) or Path(path).is_dir():
        for name, file in files_of(path):
            if file.suffix.lower() in SUFFIXES:
                yield name, partial(_read_file, str(file))
        return
    version = _version(path)
    for name in sorted(_archive(path, version).namelist()):
        parts = name.split("/")
        hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
        if not hidden and Path(name).suffix.lower() in SUFFIXES:
            yield name, partial(_read_member, path, version, name)


def _read_file(path: str) -> Content:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        return Unreadable(str(error))


def _read_member(path: str, version: tuple[int, int], name: str) -> Content:
    try:
        return _archive(path, version).read(name)
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        return Unreadable(str(error))


@lru_cache(maxsize=8)
def _archive(path: str, version: tuple[int, int]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as a ZIP ({error})") from error


def _version(path: str) -> tuple[int, int]:
    """What changes with a file: it may be another one under the same name. Raises InputError."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise InputError(f"{path} does not exist; give a folder, a ZIP or an array") from error
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)
def _load_arrays(
    path: str, images: str, labels: str, version: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        loaded: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} holds no arrays of numpy ({error})") from error
    names: Any = None
    pixels = loaded
    if not isinstance(loaded, np.ndarray):
        if images not in loaded:
            raise InputError(f"{path} has no array {images!r}; it has {', '.join(loaded)}")
        pixels, names = loaded[images], loaded.get(labels)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or not len(pixels):
        raise InputError(
            f"{path} holds {pixels.dtype} {list(pixels.shape)}; images are uint8, "
            "[n, height, width] or [n, height, width, channel]"
        )
    if names is not None and (names.ndim != 1 or len(names) != len(pixels)):
        raise InputError(f"{path} has {len(pixels)} images and {list(names.shape)} labels")
    return pixels, names


def _scikit_learn() -> Any:
    try:
        import sklearn.datasets
    except ImportError as error:
        raise InputError(
            "the embedded images are scikit-learn's: pip install 'jaxssl[images]', or name a folder"
        ) from error
    return sklearn.datasets


def _same(content: Any) -> Any:
    return content
