"""The options of `jaxssl prepare` that are of images, and what they stand for."""

import argparse
import dataclasses
from typing import Any

from jaxssl.data.preparing.images import Captions, PrepareImages
from jaxssl.data.sources.images import ImageSource, image_source_from_path
from jaxssl.errors import InputError

DEFAULT = {field.name: field.default for field in dataclasses.fields(PrepareImages)}
OF_IMAGES = ("channels", "fit", "captions", "on_broken", "shard_bytes")
OF_TEXT = ("documents", "on_bad_text", "engine", "beam_options", "shard_characters")
OF_CAPTIONS = ("column", "length", "tokenizer", "vocab_size", "kind", "normalization")


def add_image_options(images: argparse._ArgumentGroup) -> None:
    """The group of images."""
    images.add_argument(
        "--size",
        metavar="PIXELS",
        help="SOURCE is images: resize them to this square, or HEIGHTxWIDTH",
    )
    images.add_argument("--channels", type=int, choices=[1, 3], help="grey or colours (default: 3)")
    images.add_argument(
        "--fit",
        choices=["crop", "pad", "stretch"],
        help=f"how other shapes become this one (default: {DEFAULT['fit']} to the middle)",
    )
    images.add_argument(
        "--captions",
        metavar="JSONL",
        help='image-text pairs: lines with "image", a name in SOURCE, and "caption" (or --column)',
    )
    images.add_argument(
        "--on-broken",
        choices=["stop", "skip"],
        help="images that cannot be decoded: stop and name the first (default), or leave out and list",
    )
    images.add_argument(
        "--shard-bytes",
        type=int,
        help=f"pixels of a shard (default: {DEFAULT['shard_bytes']})",
    )


def check_kind(options: argparse.Namespace, defaults: dict[str, Any]) -> None:
    """Raises InputError for options of images without --size, and of text with it."""
    if options.size is None:
        refuse(options, OF_IMAGES, {}, "is of images; say their --size, too")
        return
    refuse(options, OF_TEXT, defaults, "is of text, and with --size the source is images")
    if options.captions is None:
        refuse(options, OF_CAPTIONS, {}, "is of text; give --captions to go with the images")


def refuse(
    options: argparse.Namespace, names: tuple[str, ...], defaults: dict[str, Any], why: str
) -> None:
    for name in names:
        if getattr(options, name) != defaults.get(name):
            raise InputError(f"--{name.replace('_', '-')} {why}")


def images_of(options: argparse.Namespace, tokenizer: Any) -> PrepareImages:
    """The configuration; `tokenizer` is that of the captions."""
    height, width = size_of(options.size)
    given = {
        name: getattr(options, name)
        for name in ("channels", "fit", "on_broken", "shard_bytes")
        if getattr(options, name) is not None
    }
    captions = None
    if options.captions is not None:
        length = {} if options.length is None else {"length": options.length}
        captions = Captions(tokenizer or Captions().tokenizer, **length)
    valid = options.valid
    if isinstance(valid, str):
        if captions is not None:
            raise InputError("--valid of image-text pairs must be a share, e.g. 0.05")
        valid = source_of(valid, options)
    return PrepareImages(
        source=source_of(options.source, options),
        height=height,
        width=width,
        valid=valid,
        captions=captions,
        workers=options.workers,
        **given,
    )


def source_of(path: str, options: argparse.Namespace) -> ImageSource:
    return image_source_from_path(path, captions=options.captions, column=options.column)


def size_of(text: str) -> tuple[int, int]:
    """Height and width of "32" or "48x64". Raises InputError."""
    height, _, width = text.lower().partition("x")
    try:
        return int(height), int(width or height)
    except ValueError as error:
        raise InputError(f"--size {text!r} is no size; write 32 or 48x64") from error
