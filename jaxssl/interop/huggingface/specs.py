"""What a network of a Hugging Face folder reads, as the description that objectives are given."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from jaxssl.data.rows import TextSpec, even_frequency
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import whole

ROLES = ("pad", "unknown", "begin", "end", "mask")


def text_spec(config: Mapping[str, Any], tokenizer: Tokenizer | None) -> TextSpec:
    """Describes texts for the network of a folder.

    The vocabulary has the size of the embedding table, which may be larger than that of the tokenizer
    (tables are often padded to a multiple of 64): ids without a token are special, so that they are never
    predicted.

    Args:
      config: Content of config.json, or the part of it that describes the network of texts.
      tokenizer: Tokenizer of the folder. None: special ids are those of config.json, as far as it has them.

    Returns:
      Rows of length 1, on which no parameter depends. A special id without a row is that of the token which
      it stands for, as `begin` of GPT-2 stands for <|endoftext|>.

    Raises:
      InputError: The table is smaller than the vocabulary of the tokenizer, special tokens aside.
    """
    size = whole(config, "vocab_size")
    if tokenizer is None:
        return _without_tokenizer(config, size)
    spec = TextSpec.of(tokenizer, batch=1, length=1)
    if not spec.special[size:].all():
        raise InputError(
            f"the tokenizer has {spec.vocab_size} ids, and config.json says vocab_size={size}; take both "
            "from the same folder"
        )
    roles: dict[str, Any] = {role: tokenizer.with_row(getattr(spec, role), size) for role in ROLES}
    return replace(resized(spec, size), **roles)


def resized(spec: TextSpec, size: int) -> TextSpec:
    """Returns a description of the same texts with `size` ids; those that are added are special.

    Args:
      spec: A description.
      size: Number of ids. If it is smaller than that of `spec`, the last ids have no row in the tables of the
        network; they must be special ones that no text is encoded with.
    """

    def table(values: np.ndarray, filler: Any) -> np.ndarray:
        more = np.full(max(size - len(values), 0), filler, values.dtype)
        return np.concatenate([values[:size], more])

    special = table(spec.special, True)
    return TextSpec(
        batch=spec.batch,
        length=spec.length,
        vocab_size=size,
        pad=spec.pad,
        unknown=spec.unknown,
        begin=spec.begin,
        end=spec.end,
        mask=spec.mask,
        starts_word=table(spec.starts_word, True),
        byte_length=table(spec.byte_length, 0),
        special=special,
        ends_sentence=table(spec.ends_sentence, False),
        count=partial(even_frequency, special),
    )


def _without_tokenizer(config: Mapping[str, Any], size: int) -> TextSpec:
    """The description of a folder without a tokenizer: every id is an ordinary token of unknown length."""

    def id(name: str) -> int:
        value = config.get(name)
        return value if isinstance(value, int) and 0 <= value < size else 0

    special = np.zeros(size, bool)
    return TextSpec(
        batch=1,
        length=1,
        vocab_size=size,
        pad=id("pad_token_id"),
        unknown=0,
        begin=id("bos_token_id"),
        end=id("eos_token_id"),
        mask=0,
        starts_word=np.ones(size, bool),
        byte_length=np.ones(size, np.int32),
        special=special,
        ends_sentence=np.zeros(size, bool),
        count=partial(even_frequency, special),
    )
