"""Checks the texts that a caller gives to a network: a list of strings, each of whole characters."""

from collections.abc import Iterable
from typing import Any

from jaxssl.errors import InputError

BYTE_ORDER_MARK = (
    "\ufeff"  # some editors write it at the beginning of a file; it is no part of the text
)


def given_texts(texts: Iterable[Any], name: str = "texts") -> list[str]:
    """Returns the given texts as a list, without byte order marks at their beginnings.

    Args:
      texts: The texts.
      name: Name of the argument in error messages.

    Raises:
      InputError: `texts` is a single string, or contains what is not a string, or half of a character.
    """
    refuse_a_string(texts, name)
    try:
        every = list(texts)
    except TypeError as error:
        raise InputError(f"{name} is {_brief(texts)}; pass a list of texts") from error
    for number, text in enumerate(every):
        if not isinstance(text, str):
            raise InputError(
                f"{name}[{number}] is {_brief(text)}, a {type(text).__name__}; pass strings"
            )
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            half = ascii(text[error.start])
            raise InputError(
                f"{name}[{number}] contains a lone surrogate (half a character), {half} at character "
                f"{error.start}; remove it"
            ) from error
    return [text.removeprefix(BYTE_ORDER_MARK) for text in every]


def refuse_a_string(texts: Any, name: str = "texts") -> None:
    """Raises InputError if `texts`, the argument `name`, is a single string, which is no list of texts."""
    if isinstance(texts, str | bytes):
        raise InputError(
            f"{name} is a single string, {_brief(texts)}; pass a list, even of one text: [text]"
        )


def _brief(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
