"""Decodes JPEG and PNG files, and converts arrays, to uint8 pixels of one size."""

import io
import warnings
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Fit = Literal["crop", "pad", "stretch"]
FORMATS = ("JPEG", "PNG")
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

    The image is rotated as its EXIF data says. CMYK, palettes, greyscale and 16 bits per channel
    are converted, and transparent pixels are blended with white. Resizing is bicubic.

    Args:
      content: The bytes of a JPEG or PNG file; or pixels, uint8 `[height, width]` or
        `[height, width, channel]` with 1, 3 or 4 channels; or an `Unreadable`.
      height: Height of the result in pixels.
      width: Width of the result in pixels.
      channels: 3 for red, green and blue; 1 for greyscale.
      fit: How another aspect ratio is treated: "crop" keeps the centre, "pad" adds white borders,
        "stretch" distorts.

    Returns:
      The pixels, uint8 `[height, width, channels]`.

    Raises:
      BrokenImage: The content cannot be read or decoded.
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
    except UnidentifiedImageError as error:
        raise BrokenImage("it is not a JPEG or PNG file") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise BrokenImage(str(error) or type(error).__name__) from error


def _open(content: bytes, height: int, width: int) -> Image.Image:
    """Decodes a file, a JPEG at a reduced scale where that is enough for the wanted size."""
    if not content:
        raise BrokenImage("it is empty")
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    longest = ENLARGED * max(height, width)
    image.draft(None, (longest, longest))
    image.load()
    return ImageOps.exif_transpose(image)


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
        image = Image.fromarray(
            (np.asarray(image).astype(np.float64) / 257).round().clip(0, 255).astype(np.uint8)
        )
    if image.has_transparency_data:
        front = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", front.size, (*WHITE, 255)), front)
    return image.convert("RGB" if channels == 3 else "L")


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
