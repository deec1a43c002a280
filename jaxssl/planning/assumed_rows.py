"""Describes the rows or images of a run, which may not exist yet: from their manifest, or assumed."""

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

# What is assumed where nothing else is known
LENGTH, VOCAB_SIZE = 512, 32_768
HEIGHT, WIDTH, CHANNELS = 224, 224, 3
CAPTION_LENGTH = 77  # as in CLIP (Radford et al. 2021)
SPECIALS = 5  # ids: pad, unknown, begin, end, mask


def assumed_rows(
    config: Pretraining,
    length: int | None = None,
    vocab_size: int | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[TextSpec | ImageSpec, str]:
    """Describes the rows that a run would read.

    What is not given comes from the manifest of `config.data` if the set exists, from the recipe's
    preparation of images, or is assumed: rows of 512 tokens (or the network's `max_length`, if that is
    less), a vocabulary of 32,768, images of 224x224x3.

    Args:
      config: Configuration of the run.
      length: Length of a row, or of a caption, in tokens.
      vocab_size: Number of token ids.
      size: Height and width of images in pixels.

    Returns:
      The description of the batches, and where it comes from, in words.

    Raises:
      InputError: An argument does not fit the recipe, or a size is too small.
    """
    if isinstance(config.data, Images):
        return _images(config, config.data, length, vocab_size, size)
    if size is not None:
        raise InputError("size is for images, but the recipe reads text; leave size out")
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
    """Describes images, with captions if the set or the recipe has them, or a network reads them."""
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
        raise InputError(f"images of {height}x{width} have no pixels; set size to at least 1x1")
    captions = None
    if tokens or length is not None:
        captions = _text(data.batch, _given(length, tokens), _given(vocab_size, known))
    elif vocab_size is not None:
        raise InputError("vocab_size is for captions, and there are none; give length, too")
    spec = ImageSpec(data.batch, height, width, channels, labels, captions)
    given = {"size": size, "length": length, "vocab-size": vocab_size}
    return spec, _source(source, given if captions else {"size": size})


def _given(value: Any, known: Any) -> Any:
    """Returns the given value, or the known one if none is given."""
    return known if value is None else value


def _source(known: str, flags: dict[str, Any]) -> str:
    """Returns in words where a description comes from; `flags` are all that could be given."""
    given = [f"--{name}" for name, value in flags.items() if value is not None]
    if not given:
        return known
    listed = " and ".join(given)
    return f"from {listed}" if len(given) == len(flags) else f"{known}, but {listed}"


def _text(batch: int, length: int, vocab_size: int) -> TextSpec:
    """Describes text. Since only shapes matter, each token is taken to begin a word of four bytes."""
    if length < 8:
        raise InputError(f"rows of {length} tokens are too short; set length to at least 8")
    if vocab_size <= SPECIALS:
        raise InputError(
            f"a vocabulary of {vocab_size} has no tokens beside its {SPECIALS} special ones; "
            "set vocab_size to more"
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
