"""The sources of images: folders, ZIP files, numpy arrays, tensorflow-datasets, scikit-learn's.

A source is a frozen dataclass, and each call of `pictures()` lists it from the start. Listing is
quick, because the content of a picture is read only when its `read` is called. The name of a picture
is unique in its source and does not depend on where the folder is: whether the picture belongs to
the training or the evaluation part is decided from it (or from its group).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from jaxssl.data.sources.folders import LeftOut
from jaxssl.data.sources.image_files import (
    Content,
    ImageFile,
    list_files,
    list_images,
    unpacks_to_too_much,
    version_of,
)
from jaxssl.data.sources.image_labels import folder_label, label_of
from jaxssl.data.sources.image_parts import Part, parts_of
from jaxssl.data.sources.readers import (
    open_tensorflow_dataset,
    read_json_lines,
    value_of,
)
from jaxssl.errors import InputError


class Picture(NamedTuple):
    """One image of a source: its name, how to read it, and its label or caption."""

    name: str
    """Name that is unique in the source."""
    read: Callable[[], Content]
    """Function that reads the image: the bytes of a file, such as a JPEG, or pixels, uint8
    `[height, width]` or `[height, width, channel]`. It returns an `Unreadable` on failure."""
    label: str | None = None
    """Class of the image; None if it has none."""
    caption: str | None = None
    """Caption of the image; None if it has none."""
    group: str = ""
    """Pictures of the same group all belong to the same part, training or evaluation; "" means
    that the picture is a group of its own."""
    part: Part = ""
    """Part that the source itself says the picture belongs to, "train" or "valid"; "" leaves it to
    the configuration."""

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
    """Files of images in a folder, its sub-folders or a ZIP file, sorted by name.

    JPEG, PNG, GIF, WebP, BMP, TIFF and PPM files are read, and links are followed. The label of an
    image is the name of its sub-folder (LABEL/NAME.jpg). Images directly in the folder have none.
    Sub-folders train/ and val/ (or valid/, dev/ or test/) are no labels, but the parts of the data.
    """

    path: str
    """Folder, ZIP file or glob pattern."""

    def pictures(self) -> Iterator[Picture]:
        """Yields all images; raises InputError if there are none."""
        files = list(list_images(self.path))
        parts = parts_of([name for name, _ in files])
        for name, read in files:
            part, folders = parts.of(name)
            if part is not None:
                label = folder_label(folders[-1], name) if folders else None
                yield Picture(name, read, label, part=part)

    def left_out(self) -> list[LeftOut]:
        """Lists the files that are not read, with the reason."""
        files = list_files(self.path)
        parts = parts_of([file.name for file in files if isinstance(file, ImageFile)])
        return [
            file if isinstance(file, LeftOut) else LeftOut(file.name, parts.why_left_out)
            for file in files
            if isinstance(file, LeftOut) or parts.of(file.name)[0] is None
        ]


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
            try:
                caption.encode("utf-8")
            except UnicodeEncodeError as error:
                raise InputError(
                    f"{where} contains a lone surrogate (half a character), {caption[error.start]!r} at "
                    f"character {error.start} of {self.caption_column!r}; fix it"
                ) from error
            yield Picture(f"{where}:{name}", known[name], caption=caption, group=name)

    def left_out(self) -> list[LeftOut]:
        """Lists the files of `images` that are not read, with the reason."""
        records = read_json_lines(self.path)
        named = {str(record.get(self.image_column)) for _, record in records}
        return [
            file if isinstance(file, LeftOut) else LeftOut(file.name, "without a caption")
            for file in list_files(self.images)
            if isinstance(file, LeftOut) or file.name not in named
        ]


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
        pixels, labels = _load_arrays(self.path, self.images, self.labels, version_of(self.path))
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
            label = label_of(record.get(self.label_column), where, names)
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
        where = f"{name}#{number}"
        label = None if labels is None else label_of(labels[number], where)
        yield Picture(where, partial(_same, image), label)


@lru_cache(maxsize=2)
def _load_arrays(
    path: str, images: str, labels: str, version: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Loads and checks the arrays of images and labels; None for a file without labels."""
    try:
        loaded: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        names: Any = None
        pixels = loaded
        if not isinstance(loaded, np.ndarray):
            if images not in loaded:
                raise InputError(f"{path} has no array {images!r}; it has {', '.join(loaded)}")
            for member in loaded.zip.infolist():
                if reason := unpacks_to_too_much(member):
                    raise InputError(f"{path}, {member.filename}: {reason}")
            pixels, names = loaded[images], loaded.get(labels)
    except InputError:
        raise
    except Exception as error:  # damaged files raise errors of many kinds
        raise InputError(f"{path} contains no arrays of numbers or strings ({error})") from error
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or not pixels.size:
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
            "pip install scikit-learn, or give a folder"
        ) from error
    return sklearn.datasets


def _same(content: Any) -> Any:
    """Returns its argument; with `partial`, it is a `read` that can be sent to another process."""
    return content
