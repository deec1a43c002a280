"""Checks the definition of a tokenizer, the content of a tokenizer.json, before and after it is built.

The file may come from anybody. The library that runs it ends the process, or fills the memory, on some
definitions that are damaged or meant to do so.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from jaxssl.errors import InputError, brief

MOST_IDS = 2**22  # ids are below this number; the largest vocabularies in use have about a million
MOST_GROWTH = 100  # characters that a normaliser may make of one
# Components whose time and memory are proportional to the text, whatever their settings
PLAIN = {
    "BertNormalizer", "BertPreTokenizer", "ByteLevel", "ByteFallback", "CharDelimiterSplit", "Digits",
    "Fuse", "Lowercase", "Metaspace", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Prepend", "Punctuation",
    "Sequence", "Strip", "StripAccents", "Whitespace", "WhitespaceSplit", "WordPiece",
}  # fmt: skip
PARTS = ("normalizer", "pre_tokenizer", "decoder")


def parse_definition(definition: str | dict[str, Any], origin: str) -> dict[str, Any]:
    """Returns the content of a tokenizer.json without padding, truncation and post-processing.

    Args:
      definition: The file's content, parsed or not. A byte order mark is removed.
      origin: Name of the file, for error messages.

    Raises:
      InputError: It is not a JSON object, or is known to fail: a text may become very long, or there is
        no token for unknown words.
    """
    parts: Any = definition
    if isinstance(definition, str):
        try:  # the library refuses what Python's JSON takes beyond the standard, such as NaN
            parts = json.loads(definition.removeprefix("\ufeff"))
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
            raise InputError(f"{origin} is not a valid tokenizer.json: {reason}") from error
    if not isinstance(parts, dict) or not isinstance(parts.get("model"), dict):
        raise InputError(f"{origin} is not a valid tokenizer.json: it has no model")
    growth = math.prod(_growth(part) for part in _components(parts.get("normalizer")))
    if growth > MOST_GROWTH:
        raise InputError(
            f"{origin} replaces a character by up to {growth:,} others; at most {MOST_GROWTH} are allowed"
        )
    model = parts["model"]
    vocabulary, unknown = model.get("vocab"), model.get("unk_token")
    needs_unknown = model.get("type") in ("WordPiece", "WordLevel")
    is_known = isinstance(unknown, str) and isinstance(vocabulary, dict) and unknown in vocabulary
    if needs_unknown and not is_known:
        raise InputError(f"{origin}: unk_token {brief(unknown)} is not in the vocabulary")
    return parts | {"padding": None, "truncation": None, "post_processor": None}


def check_ids(vocabulary: Mapping[str, int], parts: Mapping[str, Any], origin: str) -> None:
    """Checks that every id stands for one piece and is not too large.

    Args:
      vocabulary: Ids by piece, as the built tokenizer has them.
      parts: The definition.
      origin: Name of the file, for error messages.

    Raises:
      InputError: Two pieces have the same id, an id is too large, or an added token has another id than
        the definition says.
    """
    pieces: dict[int, str] = {}
    for piece, id in vocabulary.items():
        if not 0 <= id < MOST_IDS:
            raise InputError(f"{origin}: {brief(piece)} has id {id}, not from 0 to {MOST_IDS - 1}")
        if pieces.setdefault(id, piece) != piece:
            raise InputError(
                f"{origin}: {brief(piece)} and {brief(pieces[id])} have the same id {id}"
            )
    for token in parts.get("added_tokens") or ():
        if token["content"] and vocabulary.get(token["content"]) != token["id"]:
            raise InputError(
                f"{origin}: the added token {brief(token['content'])} has id {token['id']}, and in the "
                f"vocabulary {vocabulary.get(token['content'])}"
            )


def needs_trial(parts: Mapping[str, Any]) -> bool:
    """Returns whether a tokenizer should be tried in a process of its own before it is used.

    Args:
      parts: The definition.
    """
    kinds = {str(part.get("type")) for name in PARTS for part in _components(parts.get(name))}
    return parts["model"].get("type") != "WordPiece" or not kinds <= PLAIN


def _components(part: Any) -> Iterator[dict[str, Any]]:
    """Yields all components of a normaliser, pre-tokenizer or decoder; sequences are resolved."""
    if not isinstance(part, dict):
        return
    yield part
    for name in ("normalizers", "pretokenizers", "decoders"):
        inner = part.get(name)
        for one in inner if isinstance(inner, list) else ():
            yield from _components(one)


def _growth(normalizer: dict[str, Any]) -> int:
    """Returns how many characters a normaliser may make of one, at least 1."""
    content = normalizer.get("content")
    if normalizer.get("type") != "Replace" or not isinstance(content, str):
        return 1
    pattern = normalizer.get("pattern")
    found = pattern.get("String") if isinstance(pattern, dict) else None
    shortest = len(found) if isinstance(found, str) and found else 1
    return max(1, -(-len(content) // shortest))
