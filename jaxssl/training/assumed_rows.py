"""The description of rows that may not exist yet: from their manifest, or assumed."""

from functools import partial

import numpy as np

from jaxssl.data.images import Images
from jaxssl.data.loader import TextSpec, even_frequency
from jaxssl.data.manifest import is_prepared, read_manifest
from jaxssl.errors import InputError
from jaxssl.training.config import Pretraining
from jaxssl.training.refusals import networks

LENGTH, VOCAB_SIZE = 512, 32_768
SPECIALS = 5  # pad, unknown, begin, end, mask


def assumed_rows(
    config: Pretraining, length: int | None = None, vocab_size: int | None = None
) -> tuple[TextSpec, str]:
    """Rows as the manifest of `config.data` says, less what is given; and in words where from."""
    if isinstance(config.data, Images):
        raise InputError("only runs on text can be planned so far; pass a recipe with data=Rows(…)")
    folder = config.data.paths[0]
    if is_prepared(folder):
        manifest = read_manifest(folder)
        known, source = (manifest.length, manifest.vocab_size), f"from {folder}"
    else:
        longest = [network.max_length for network in networks(config.objective).values()]
        known, source = (min([LENGTH, *longest]), VOCAB_SIZE), "assumed"
    given = [
        name
        for name, value in (("length", length), ("vocab-size", vocab_size))
        if value is not None
    ]
    if given:
        flags = " and ".join(f"--{name}" for name in given)
        source = f"from {flags}" if len(given) == 2 else f"{source}, but {flags}"
    spec = _spec(
        config.data.batch,
        known[0] if length is None else length,
        known[1] if vocab_size is None else vocab_size,
    )
    return spec, source


def _spec(batch: int, length: int, vocab_size: int) -> TextSpec:
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
