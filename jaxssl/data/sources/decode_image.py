"""A JPEG or PNG, or an array, to uint8 pixels of one size. What cannot be decoded says why."""

import io
import warnings
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Fit = Literal["crop", "pad", "stretch"]
FORMATS = ("JPEG", "PNG")
WHITE = (255, 255, 255)  # behind what is transparent, and around what is padded
ENLARGED = 2  # a JPEG is decoded at the smallest scale that is so many times the size it goes to


class Unreadable(NamedTuple):
    """Takes the place of a file that cannot be read."""

    reason: str


class BrokenImage(Exception):
    """Why an image cannot be decoded."""


def decode(
    content: bytes | np.ndarray | Unreadable, height: int, width: int, channels: int, fit: Fit
) -> np.ndarray:
    """uint8 [height, width, channels] (3: red, green, blue; 1: grey).

    Rotated as EXIF says; CMYK, palettes, grey and 16 bits converted; white put behind transparency.
    `fit`: crop to the middle of the wanted shape, pad to it with white, or stretch; resized bicubic.
    Raises BrokenImage.
    """
    if isinstance(content, Unreadable):
        raise BrokenImage(content.reason)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; what is lost shows as an error
            image = (
                _from_array(content)
                if isinstance(content, np.ndarray)
                else _open(content, height, width)
            )
            return _resize(_as_colours(image, channels), height, width, fit)
    except UnidentifiedImageError as error:
        raise BrokenImage("it is no JPEG or PNG") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise BrokenImage(str(error) or type(error).__name__) from error


def _open(content: bytes, height: int, width: int) -> Image.Image:
    if not content:
        raise BrokenImage("it is empty")
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    longest = ENLARGED * max(height, width)
    image.draft(None, (longest, longest))
    image.load()
    return ImageOps.exif_transpose(image)


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype != np.uint8 or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise BrokenImage(f"an array of {pixels.dtype} {list(pixels.shape)} is no image")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _as_colours(image: Image.Image, channels: int) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits of grey
        image = Image.fromarray(
            (np.asarray(image).astype(np.float64) / 257).round().clip(0, 255).astype(np.uint8)
        )
    if image.has_transparency_data:
        front = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", front.size, (*WHITE, 255)), front)
    return image.convert("RGB" if channels == 3 else "L")


def _resize(image: Image.Image, height: int, width: int, fit: Fit) -> np.ndarray:
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
