"""The sources of images: folders, ZIP files, numpy arrays, tensorflow-datasets, scikit-learn's.

A source is a frozen dataclass, and each call of `pictures()` lists it from the start. Listing is
quick, because the content of a picture is read only when its `read` is called. The name of a picture
is unique in its source and does not depend on where the folder is: whether the picture belongs to
the training or the evaluation part is decided from it (or from its group).
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
Content = bytes | np.ndarray | Unreadable  # the bytes of a JPEG or PNG file, or pixels


class Picture(NamedTuple):
    """One image of a source: its name, how to read it, and its label or caption."""

    name: str
    """Name that is unique in the source."""
    read: Callable[[], Content]
    """Function that reads the image: the bytes of a JPEG or PNG file, or pixels, uint8
    `[height, width]` or `[height, width, channel]`. It returns an `Unreadable` on failure."""
    label: str | None = None
    """Class of the image; None if it has none."""
    caption: str | None = None
    """Caption of the image; None if it has none."""
    group: str = ""
    """Pictures of the same group all belong to the same part, training or evaluation; "" means
    that the picture is a group of its own."""

    @property
    def key(self) -> str:
        """Returns the string that decides between training and evaluation: the group or the name."""
        return self.group or self.name


class ImageSource(Protocol):
    """The interface of a source of images."""

    def pictures(self) -> Iterator[Picture]:
        """Yields all pictures, each time from the start; raises InputError if there are none."""
        ...


@dataclass(frozen=True)
class ImageFiles:
    """JPEG and PNG files in a folder, its sub-folders or a ZIP file, sorted by name.

    The label of an image is the name of its sub-folder (LABEL/NAME.jpg). Images directly in the
    folder have none.
    """

    path: str
    """Folder, ZIP file or glob pattern."""

    def pictures(self) -> Iterator[Picture]:
        """Yields all images; raises InputError if there are none."""
        found = False
        for name, read in list_images(self.path):
            found = True
            *folders, _ = name.split("/")
            yield Picture(name, read, folders[-1] if folders else None)
        if not found:
            raise InputError(f"{self.path} contains no JPEG or PNG image")


@dataclass(frozen=True)
class CaptionedImages:
    """Images with captions: JSON lines that name an image file and its caption each.

    All captions of an image belong to the same part, training or evaluation.
    """

    path: str
    """The .jsonl file (or a folder or glob pattern of such files)."""
    images: str
    """Folder or ZIP file that contains the images."""
    image_column: str = "image"
    """Key of the image's name, relative to `images`."""
    caption_column: str = "caption"
    """Key of the caption."""

    def pictures(self) -> Iterator[Picture]:
        """Yields one picture for each line; raises InputError for a missing image or caption."""
        known = dict(list_images(self.images))
        for where, record in read_json_lines(self.path):
            name = str(value_of(record, self.image_column, where))
            caption = value_of(record, self.caption_column, where)
            if name not in known:
                raise InputError(f"{where} names image {name!r}, which is not in {self.images}")
            if not isinstance(caption, str) or not caption.strip():
                raise InputError(f"{where}: {self.caption_column!r} contains no caption")
            yield Picture(f"{where}:{name}", known[name], caption=caption, group=name)


@dataclass(frozen=True)
class ImageArrays:
    """Images in a .npz file, with labels, or in a .npy file, without.

    Images are uint8 `[number, height, width]` or `[number, height, width, channel]`, labels are
    `[number]` of any type; they are converted to strings.
    """

    path: str
    """The .npz or .npy file."""
    images: str = "images"
    """Name of the array of images in the .npz file."""
    labels: str = "labels"
    """Name of the array of labels in the .npz file; if there is none, images have no labels."""

    def pictures(self) -> Iterator[Picture]:
        """Yields all images; raises InputError for a missing file or arrays of other shapes."""
        pixels, labels = _load_arrays(self.path, self.images, self.labels, _version(self.path))
        yield from pictures_of(pixels, labels, Path(self.path).name)


@dataclass(frozen=True)
class TensorflowImages:
    """An image data set of tensorflow-datasets (TFDS), read without TensorFlow.

    The data set must be prepared with `file_format="array_record"`; see `open_tensorflow_dataset`.
    """

    name: str
    """Name of the data set, or its prepared folder."""
    split: str = "train"
    """Split of the data set, such as "train" or "test"."""
    image_column: str = "image"
    """Name of the feature with the image."""
    label_column: str = "label"
    """Name of the feature with the label; if there is none, images have no labels."""

    def pictures(self) -> Iterator[Picture]:
        """Yields all images of the split; raises InputError if it cannot be read."""
        builder, records = open_tensorflow_dataset(self.name, self.split, {self.image_column})
        kind = dict(builder.info.features).get(self.label_column)
        names = getattr(kind, "names", None)  # only a ClassLabel has them
        for number in range(len(records)):
            where = f"{builder.info.full_name}/{self.split}#{number}"
            record = records[number]
            image = value_of(record, self.image_column, where)
            label = record.get(self.label_column)
            if label is not None:
                label = names[int(label)] if names else str(label)
            yield Picture(where, partial(_same, image), label)


@dataclass(frozen=True)
class Digits:
    """The 1,797 handwritten digits that ship with scikit-learn: 8x8 pixels, greyscale, labelled."""

    def pictures(self) -> Iterator[Picture]:
        """Yields all digits; raises InputError if scikit-learn is not installed."""
        digits = _scikit_learn().load_digits()
        pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
        yield from pictures_of(pixels, digits.target, "digits")


@dataclass(frozen=True)
class Photographs:
    """Crops of the two photographs that ship with scikit-learn, 427x640 pixels, in colour.

    The label of a crop is the name of its photograph.
    """

    size: int = 64
    """Height and width of a crop in pixels."""
    stride: int = 16
    """Distance between neighbouring crops in pixels, downwards and to the right."""

    def pictures(self) -> Iterator[Picture]:
        """Yields all crops; raises InputError if scikit-learn is not installed."""
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
    """Returns the source of images that a path stands for.

    Args:
      path: A folder, a ZIP file or a glob pattern; a .npz or .npy file; "tfds:NAME" or
        "tfds:NAME#SPLIT" for a data set of tensorflow-datasets; "digits" or "photographs" for the
        images that ship with scikit-learn.
      captions: A .jsonl file that names images in the folder or ZIP at `path`, with their
        captions; only those images are used. None for images without captions.
      column: Key of the caption in `captions`; None means "caption".

    Returns:
      The source. Nothing is read yet.
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
    """Yields the images of an array as pictures named `name#number`.

    Args:
      pixels: The images, uint8 `[number, height, width]` or `[number, height, width, channel]`.
      labels: One label for each image, `[number]`, or None.
      name: First part of the names.
    """
    for number, image in enumerate(pixels):
        label = None if labels is None else str(labels[number])
        yield Picture(f"{name}#{number}", partial(_same, image), label)


def list_images(path: str) -> Iterator[tuple[str, Callable[[], Content]]]:
    """Yields the name of each JPEG and PNG file below `path`, sorted, and a function that reads it.

    Args:
      path: A folder, a ZIP file or a glob pattern. Names are relative to it. Hidden files are left
        out.

    Raises:
      InputError: The path does not exist or cannot be read.
    """
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
    """Reads a file; a failure is returned, not raised, so that one bad file can be skipped."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        return Unreadable(str(error))


def _read_member(path: str, version: tuple[int, int], name: str) -> Content:
    """Reads a file of a ZIP; a failure is returned, not raised."""
    try:
        return _archive(path, version).read(name)
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        return Unreadable(str(error))


@lru_cache(maxsize=8)
def _archive(path: str, version: tuple[int, int]) -> zipfile.ZipFile:
    """Opens a ZIP once; `version` makes the cache miss when the file was replaced."""
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as a ZIP ({error})") from error


def _version(path: str) -> tuple[int, int]:
    """Returns the time of modification and the size, by which a replaced file is recognised."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise InputError(f"{path} does not exist; give a folder, a ZIP or an array") from error
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)
def _load_arrays(
    path: str, images: str, labels: str, version: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Loads and checks the arrays of images and labels; None for a file without labels."""
    try:
        loaded: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} contains no numpy arrays ({error})") from error
    names: Any = None
    pixels = loaded
    if not isinstance(loaded, np.ndarray):
        if images not in loaded:
            raise InputError(f"{path} has no array {images!r}; it has {', '.join(loaded)}")
        pixels, names = loaded[images], loaded.get(labels)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or not len(pixels):
        raise InputError(
            f"{path} contains {pixels.dtype} {list(pixels.shape)}; images are uint8, "
            "[n, height, width] or [n, height, width, channel]"
        )
    if names is not None and (names.ndim != 1 or len(names) != len(pixels)):
        raise InputError(
            f"{path} has {len(pixels)} images but labels of shape {list(names.shape)}; it needs "
            "one label per image"
        )
    return pixels, names


def _scikit_learn() -> Any:
    """Imports scikit-learn's data sets, an optional dependency."""
    try:
        import sklearn.datasets
    except ImportError as error:
        raise InputError(
            "the built-in images come with scikit-learn, which is not installed: "
            "pip install 'jaxssl[images]', or give a folder"
        ) from error
    return sklearn.datasets


def _same(content: Any) -> Any:
    """Returns its argument; with `partial`, it is a `read` that can be sent to another process."""
    return content
