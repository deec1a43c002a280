"""Decodes files of images, and converts arrays, to uint8 pixels of one size."""

import io
import warnings
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxssl.data.sources.image_metadata import orientation_of, without_metadata

Fit = Literal["crop", "pad", "stretch"]
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")  # Pillow's names of what is read
MOST_PIXELS = (
    1 << 27
)  # of a file, 134 million: four bytes each, and a few copies, must fit in memory
BLOCK = 1 << 20  # pixels of more than 8 bits that are converted at a time
WHITE = (255, 255, 255)  # the background of transparent images, and the padding
ENLARGED = 2  # a JPEG is decoded at the smallest scale of at least this many times the wanted size


class Unreadable(NamedTuple):
    """Stands for the content of a file that cannot be read."""

    reason: str
    """Why the file cannot be read, in one line."""


class BrokenImage(Exception):
    """Raised for an image that cannot be decoded; the message says why."""


def decode(
    content: bytes | np.ndarray | Unreadable, height: int, width: int, channels: int, fit: Fit
) -> np.ndarray:
    """Decodes an image to pixels of the wanted size and number of channels.

    The image is rotated as its EXIF data says; other metadata, and damage of it, do not matter. CMYK,
    palettes, greyscale and 16 bits per channel are converted, and transparent pixels are blended
    with white. Of an animation or a file with several pages, the first is taken. Resizing is bicubic.

    Args:
      content: The bytes of a file of one of the `FORMATS`; or pixels, uint8 `[height, width]` or
        `[height, width, channel]` with 1, 3 or 4 channels; or an `Unreadable`.
      height: Height of the result in pixels.
      width: Width of the result in pixels.
      channels: 3 for red, green and blue; 1 for greyscale.
      fit: How another aspect ratio is treated: "crop" keeps the centre, "pad" adds white borders,
        "stretch" distorts.

    Returns:
      The pixels, uint8 `[height, width, channels]`.

    Raises:
      BrokenImage: The content cannot be read or decoded, or has more than `MOST_PIXELS`.
    """
    if isinstance(content, Unreadable):
        raise BrokenImage(content.reason)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata; lost pixels raise an error
            image = (
                _from_array(content)
                if isinstance(content, np.ndarray)
                else _open(content, height, width)
            )
            return _resize(_as_colours(image, channels), height, width, fit)
    except BrokenImage:
        raise
    except UnidentifiedImageError as error:
        raise BrokenImage(
            f"it is not a file of {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        ) from error
    except Exception as error:  # damaged files raise errors of nearly every kind in Pillow
        raise BrokenImage(str(error) or type(error).__name__) from error


def _open(content: bytes, height: int, width: int) -> Image.Image:
    """Decodes a file, and rotates it as its EXIF data says."""
    if not content:
        raise BrokenImage("it is empty")
    try:
        image = _load(content, height, width)
    except BrokenImage:
        raise
    except Exception:
        # Texts, profiles and other metadata that are damaged or too large make Pillow refuse pixels
        # that are whole, or not even see what kind of file it is.
        bare = without_metadata(content)
        if bare == content:
            raise
        image = _load(bare, height, width)
    turn = orientation_of(image)
    return image if turn is None else image.transpose(turn)


def _load(content: bytes, height: int, width: int) -> Image.Image:
    """Decodes the pixels of a file, a JPEG at a reduced scale where that is enough for the wanted size."""
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    longest = ENLARGED * max(height, width)
    image.draft(None, (longest, longest))
    if image.width * image.height > MOST_PIXELS:
        raise BrokenImage(
            f"{image.width} x {image.height} pixels exceed the limit of {MOST_PIXELS:,}"
        )
    image.load()
    return image


def _from_array(pixels: np.ndarray) -> Image.Image:
    """Converts pixels, uint8 `[height, width]` or `[height, width, channel]`, to an image."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype != np.uint8 or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise BrokenImage(
            f"an array of {pixels.dtype} {list(pixels.shape)} is not an image; images are uint8, "
            "[height, width] or [height, width, channel]"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _as_colours(image: Image.Image, channels: int) -> Image.Image:
    """Converts an image of any mode to RGB (3 channels) or greyscale (1 channel), 8 bits each."""
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits per pixel, greyscale
        image = _as_8_bits(image)
    if image.has_transparency_data:
        front, image = image.convert("RGBA"), Image.new("RGBA", image.size, (*WHITE, 255))
        image.alpha_composite(front)
    return image.convert("RGB" if channels == 3 else "L")


def _as_8_bits(image: Image.Image) -> Image.Image:
    """Converts greyscale of 16 bits per pixel to 8; a few rows at a time, which bounds the memory."""
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.max() > 65535 or pixels.min() < 0:
        raise BrokenImage(
            f"its pixels are of type {pixels.dtype} without a known range; convert it to 8 or 16 bits"
        )
    rows = max(1, BLOCK // pixels.shape[1])
    out = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(pixels), rows):
        out[top : top + rows] = (pixels[top : top + rows] / 257).round()
    return Image.fromarray(out)


def _resize(image: Image.Image, height: int, width: int, fit: Fit) -> np.ndarray:
    """Returns the pixels at the wanted size, uint8 `[height, width, channel]`."""
    size, method = (width, height), Image.Resampling.BICUBIC
    if image.size == size:
        resized = image
    elif fit == "crop":
        resized = ImageOps.fit(image, size, method)
    elif fit == "pad":
        resized = ImageOps.pad(image, size, method, color=WHITE[0] if image.mode == "L" else WHITE)
    else:
        resized = image.resize(size, method)
    pixels = np.asarray(resized)
    return pixels[..., None] if pixels.ndim == 2 else pixels
