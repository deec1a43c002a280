"""The description of rows or images that may not exist yet: from their manifest, or assumed."""

from functools import partial
from typing import Any

import numpy as np

from jaxssl.data.images import Images, ImageSpec
from jaxssl.data.prepared.image_manifest import read_image_manifest
from jaxssl.data.prepared.manifest import TOKENIZER, is_prepared, read_manifest
from jaxssl.data.rows import TextSpec, even_frequency
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from jaxssl.planning.refusals import networks
from jaxssl.training.config import Pretraining

LENGTH, VOCAB_SIZE = 512, 32_768
HEIGHT, WIDTH, CHANNELS = 224, 224, 3
CAPTION_LENGTH = 77  # as in CLIP (Radford et al. 2021)
SPECIALS = 5  # pad, unknown, begin, end, mask


def assumed_rows(
    config: Pretraining,
    length: int | None = None,
    vocab_size: int | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[TextSpec | ImageSpec, str]:
    """Rows as the manifest of `config.data` says, less what is given; and in words where from.

    `size` is height and width of images; `length` and `vocab_size` are then those of their captions.
    """
    if isinstance(config.data, Images):
        return _images(config, config.data, length, vocab_size, size)
    if size is not None:
        raise InputError("--size is of images, and the recipe reads text; leave it out")
    folder = config.data.paths[0]
    if is_prepared(folder):
        manifest = read_manifest(folder)
        known, source = (manifest.length, manifest.vocab_size), f"from {folder}"
    else:
        longest = [network.max_length for network in networks(config.objective).values()]
        known, source = (min([LENGTH, *longest]), VOCAB_SIZE), "assumed"
    spec = _text(config.data.batch, _given(length, known[0]), _given(vocab_size, known[1]))
    return spec, _source(source, {"length": length, "vocab-size": vocab_size})


def _images(
    config: Pretraining,
    data: Images,
    length: int | None,
    vocab_size: int | None,
    size: tuple[int, int] | None,
) -> tuple[ImageSpec, str]:
    """Captions are there where the set has some, the recipe prepares some, or a network reads them."""
    folder, recipe = data.paths[0], data.prepare
    height, width, channels, tokens = HEIGHT, WIDTH, CHANNELS, 0
    known, source = VOCAB_SIZE, "assumed"
    labels: tuple[str, ...] = ()
    reader = networks(config.objective).get("text")
    if reader is not None:
        tokens = min(CAPTION_LENGTH, reader.max_length)
    if is_prepared(folder):
        manifest = read_image_manifest(folder)
        height, width, channels = manifest.height, manifest.width, manifest.channels
        labels, tokens, source = manifest.labels, manifest.length, f"from {folder}"
        known = load_tokenizer(f"{folder}/{TOKENIZER}").vocab_size if tokens else known
    elif recipe is not None:
        height, width, channels = recipe.height, recipe.width, recipe.channels
        tokens = recipe.captions.length if recipe.captions else tokens
        source = "from the recipe"
    height, width = _given(size, (height, width))
    if min(height, width) < 1:
        raise InputError(f"images of {height}x{width} have no pixel; pass a larger --size")
    captions = None
    if tokens or length is not None:
        captions = _text(data.batch, _given(length, tokens), _given(vocab_size, known))
    elif vocab_size is not None:
        raise InputError("--vocab-size is of captions, and there are none; pass --length, too")
    spec = ImageSpec(data.batch, height, width, channels, labels, captions)
    given = {"size": size, "length": length, "vocab-size": vocab_size}
    return spec, _source(source, given if captions else {"size": size})


def _given(value: Any, known: Any) -> Any:
    return known if value is None else value


def _source(known: str, flags: dict[str, Any]) -> str:
    """Where a description is from, in words; `flags` are all that could be given."""
    given = [f"--{name}" for name, value in flags.items() if value is not None]
    if not given:
        return known
    listed = " and ".join(given)
    return f"from {listed}" if len(given) == len(flags) else f"{known}, but {listed}"


def _text(batch: int, length: int, vocab_size: int) -> TextSpec:
    """Only shapes matter: every token that is not special begins a word of four bytes."""
    if length < 8:
        raise InputError(f"rows of {length} tokens are too short; pass --length of at least 8")
    if vocab_size <= SPECIALS:
        raise InputError(
            f"a vocabulary of {vocab_size} holds nothing but its {SPECIALS} special tokens; "
            "pass a larger --vocab-size"
        )
    special = np.arange(vocab_size) < SPECIALS
    return TextSpec(
        batch=batch,
        length=length,
        vocab_size=vocab_size,
        pad=0,
        unknown=1,
        begin=2,
        end=3,
        mask=4,
        starts_word=~special,
        byte_length=np.where(special, 0, 4).astype(np.int32),
        special=special,
        ends_sentence=np.zeros(vocab_size, bool),
        count=partial(even_frequency, special),
    )
