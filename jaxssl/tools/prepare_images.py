"""The options of `jaxssl prepare` for images, and the configuration that they describe."""

import argparse
import dataclasses
import re
from typing import Any

from jaxssl.data.preparing.images import Captions, PrepareImages
from jaxssl.data.sources.images import ImageSource, image_source_from_path
from jaxssl.errors import InputError

DEFAULT = {field.name: field.default for field in dataclasses.fields(PrepareImages)}
IMAGE_OPTIONS = ("channels", "fit", "captions", "on_broken", "shard_bytes")
TEXT_OPTIONS = (
    "documents",
    "on_bad_text",
    "document_mib",
    "expansion",
    "lowercase",
    "engine",
    "beam_options",
    "shard_characters",
)
CAPTION_OPTIONS = ("column", "length", "tokenizer", "vocab_size", "kind", "normalization")


def add_image_options(images: argparse._ArgumentGroup) -> None:
    """Adds the options for images to `images`, a group of options of the parser."""
    images.add_argument(
        "--size",
        metavar="PIXELS",
        help="SOURCE is images; resize them to a square of this side, or to HEIGHTxWIDTH",
    )
    images.add_argument(
        "--channels", type=int, choices=[1, 3], help="1 for grey images, 3 for colours (default: 3)"
    )
    images.add_argument(
        "--fit",
        choices=["crop", "pad", "stretch"],
        help="how images of another aspect ratio are fitted: crop to the centre, pad, or stretch "
        f"(default: {DEFAULT['fit']})",
    )
    images.add_argument(
        "--captions",
        metavar="JSONL",
        help='prepare image-text pairs: each line of this file has "image", the name of a file in '
        'SOURCE, and "caption" (or --column)',
    )
    images.add_argument(
        "--on-broken",
        choices=["stop", "skip"],
        help="images that cannot be decoded: stop and name the first, or skip and list them "
        "(default: stop)",
    )
    images.add_argument(
        "--shard-bytes",
        type=int,
        help=f"largest number of bytes in a shard (default: {DEFAULT['shard_bytes']})",
    )


def check_kind(options: argparse.Namespace, defaults: dict[str, Any]) -> None:
    """Refuses options for images without --size, and options for text with it.

    Args:
      options: Options of the command line.
      defaults: Default values of the options for text by name.

    Raises:
      InputError: Such an option was given.
    """
    if options.size is None:
        _refuse(options, IMAGE_OPTIONS, {}, "is for images; give their --size, too")
        return
    _refuse(options, TEXT_OPTIONS, defaults, "is for text, and with --size the source is images")
    if options.captions is None:
        _refuse(options, CAPTION_OPTIONS, {}, "is for text; give --captions to go with the images")


def _refuse(
    options: argparse.Namespace, names: tuple[str, ...], defaults: dict[str, Any], why: str
) -> None:
    for name in names:
        if getattr(options, name) != defaults.get(name):
            raise InputError(f"--{name.replace('_', '-')} {why}")


def images_of(options: argparse.Namespace, tokenizer: Any) -> PrepareImages:
    """Returns the configuration of images that the options describe.

    Args:
      options: Options of the command line.
      tokenizer: Tokenizer of the captions, a path or a configuration to train one.

    Raises:
      InputError: --size is not a size, or --valid of image-text pairs is a source.
    """
    height, width = size_of(options.size)
    given = {
        name: getattr(options, name)
        for name in ("channels", "fit", "on_broken", "shard_bytes")
        if getattr(options, name) is not None
    }
    captions = None
    if options.captions is not None:
        length = {} if options.length is None else {"length": options.length}
        captions = Captions(tokenizer, **length)
    valid = options.valid
    if isinstance(valid, str):
        if captions is not None:
            raise InputError("--valid of image-text pairs must be a fraction, e.g. 0.05")
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
    """Returns the source of images at `path`, with the captions that `options` name."""
    return image_source_from_path(path, captions=options.captions, column=options.column)


def size_of(text: str) -> tuple[int, int]:
    """Returns height and width of a `text` such as "32" or "48x64". Raises InputError for another text."""
    found = re.fullmatch(r"(-?[0-9]{1,18})(?:x(-?[0-9]{1,18}))?", text.lower())
    if found is None:
        raise InputError(f"--size {text!r} is not a size; write 32 or 48x64")
    return int(found[1]), int(found[2] or found[1])
