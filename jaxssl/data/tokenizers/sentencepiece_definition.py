"""A sentencepiece model as a tokenizer.json of the same ids.

What is kept, and how it is expressed there:

    normalisation             its rules one by one (`charsmap.py`), equal on any text
    a space before each line  a prefix, also of what normalises to nothing
    repeated spaces           removed where the model removes them
    the line break            a token of its own splits lines, as `SentencePieceTokenizer` does
    user-defined symbols      added tokens, which match as the longest one at the first position
    unigram                   the scores; unknown characters as bytes, or together as one unknown token
    byte-pair encoding        the merges of all pairs of pieces that join to a piece, ordered by score

Not equal can be, in unigram models, a text with two segmentations of the same probability, such as a run of
one character ("-----" as "--" + "---" or "---" + "--"): sentencepiece adds up scores in float32, so that
rounding decides, and the rounding depends on all that stands before; tokenizers adds in float64.
`differing_texts` tells such ties from other differences.

Refused are models of words or characters, and those with white space as a suffix, unused pieces, several
unknown tokens, symbols within texts that get a space in front, or pieces that no merges make.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

from jaxssl.data.tokenizers.charsmap import normalizers_of, replace
from jaxssl.data.tokenizers.pieces import SPACE
from jaxssl.errors import InputError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # types of pieces
UNIGRAM, BPE = 1, 2  # kinds of models
MESSAGES: Any = sentencepiece_model_pb2  # its classes are made when it is imported
BELOW = 100.0  # how far below all scores that of a word is, so that only the added token finds it
Part = dict[str, Any]


def parse_model(model: bytes, origin: str = "the model") -> Any:
    """Returns the content of a sentencepiece model, a message of the kind `ModelProto`.

    Args:
      model: The content of a `.model` file.
      origin: Name of the file, for error messages.

    Raises:
      InputError: It is no sentencepiece model.
    """
    try:
        content = MESSAGES.ModelProto.FromString(model)
    except DecodeError as error:
        raise InputError(f"{origin} is not a sentencepiece model: {error}") from error
    if not content.pieces:
        raise InputError(f"{origin} is not a sentencepiece model: it has no pieces")
    return content


def definition_of(model: bytes, origin: str = "the model", *, names: Sequence[str] = ()) -> Part:
    """Returns the content of a tokenizer.json with the ids of a sentencepiece model.

    Args:
      model: The content of a `.model` file.
      origin: Name of the file, for error messages.
      names: Names of special tokens that follow the pieces, in the order of their ids.

    Raises:
      InputError: The model does something that a tokenizer.json cannot express; the message says what.
    """
    content = parse_model(model, origin)
    pieces = [(piece.piece, piece.type) for piece in content.pieces]
    spec = content.normalizer_spec
    _check(content, pieces, origin)
    splits_lines = [piece for piece, _ in pieces if "\n" in piece] == ["\n"]
    added = [
        _added(id, piece, special=kind in (UNKNOWN, CONTROL))
        for id, (piece, kind) in enumerate(pieces)
        if kind in (UNKNOWN, CONTROL, USER_DEFINED) or (splits_lines and piece == "\n")
    ]
    for token in added:  # what has a space in it is found in the normalised text
        if spec.add_dummy_prefix and _is_word(token["content"], pieces[token["id"]][1]):
            token |= {"content": token["content"][1:], "normalized": True}
        elif SPACE in token["content"]:
            token["normalized"] = True
    added += [_added(len(pieces) + i, name, special=True) for i, name in enumerate(names)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(spec)},
        "pre_tokenizer": _splits(content),
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": _decoders(spec)},
        "model": _model(content, pieces),
    }


def differing_texts(
    model: bytes, texts: Sequence[str], first: Sequence[np.ndarray], second: Sequence[np.ndarray]
) -> tuple[list[int], list[int]]:
    """Compares the ids of texts by two implementations of a sentencepiece model.

    Args:
      model: The content of the `.model` file.
      texts: The texts.
      first: Ids of each text by one, int `[tokens]`.
      second: Ids of each text by the other.

    Returns:
      Numbers of the texts with other ids, and of those whose ids are segmentations of the same probability,
      up to the rounding of float32.
    """
    content = parse_model(model)
    scores = np.array([piece.score for piece in content.pieces], np.float64)
    scores[[piece.type in (USER_DEFINED, BYTE) for piece in content.pieces]] = 0.0
    others: list[int] = []
    ties: list[int] = []
    for number, (one, two) in enumerate(zip(first, second, strict=True)):
        if np.array_equal(one, two):
            continue
        known = max([*one, *two], default=0) < len(scores)
        is_tie = False
        if known and content.trainer_spec.model_type == UNIGRAM:
            sums = [float(scores[ids].sum()) for ids in (one, two)]
            rounding = np.abs(scores[one]).sum() * max(len(one), 1) * np.finfo(np.float32).eps
            is_tie = abs(sums[0] - sums[1]) <= rounding and _text(content, one) == _text(
                content, two
            )
        (ties if is_tie else others).append(number)
    return others, ties


def _text(content: Any, ids: Iterable[int]) -> str:
    return "".join(content.pieces[int(id)].piece for id in ids)


def _check(content: Any, pieces: Sequence[tuple[str, int]], origin: str) -> None:
    """Raises InputError for what a tokenizer.json cannot express."""
    kinds = [kind for _, kind in pieces]
    normal = {piece for piece, kind in pieces if kind == NORMAL}
    known = {character for character in normal if len(character) == 1}
    stray = next((piece for piece in normal if not known.issuperset(piece)), None)
    spec, trainer = content.normalizer_spec, content.trainer_spec
    problem = ""
    if trainer.model_type not in (UNIGRAM, BPE):
        problem = "is a model of words or characters"
    elif trainer.treat_whitespace_as_suffix:
        problem = "marks white space behind words"
    elif not spec.escape_whitespaces:
        problem = "keeps spaces as they are (escape_whitespaces is False)"
    elif UNUSED in kinds:
        problem = f"has the unused piece {ascii(pieces[kinds.index(UNUSED)][0])}"
    elif kinds.count(UNKNOWN) != 1:
        problem = f"has {kinds.count(UNKNOWN)} unknown tokens"
    elif trainer.model_type == BPE and stray:
        problem = f"has the piece {ascii(stray)}, and no piece for each of its characters"
    elif len({piece for piece, _ in pieces}) < len(pieces):
        problem = "has the same piece twice"
    elif (problem_of := _symbols(pieces, spec)) is not None:
        problem = problem_of
    if problem:
        raise InputError(
            f"{origin} {problem}, which a tokenizer.json cannot express; export it as it is"
        )


def _symbols(pieces: Sequence[tuple[str, int]], spec: Any) -> str | None:
    """Returns what is wrong with the user-defined symbols beside the line break; None if nothing is."""
    breaks = [piece for piece, _ in pieces if "\n" in piece]
    symbols = [piece for piece, kind in pieces if kind == USER_DEFINED]
    within = [
        piece
        for piece in symbols
        if not _is_word(piece, USER_DEFINED) and (piece != "\n" or len(breaks) > 1)
    ]
    if within and spec.add_dummy_prefix:
        return f"puts a space before a text, and has the symbol {ascii(within[0])} within texts"
    return None


def _is_word(piece: str, kind: int) -> bool:
    """Whether a piece is a word that a vocabulary was grown by: a symbol that begins with a space."""
    return kind == USER_DEFINED and len(piece) > 1 and piece.startswith(SPACE)


def _model(content: Any, pieces: Sequence[tuple[str, int]]) -> Part:
    """The model: the vocabulary with its scores, or with its merges."""
    fallback = bool(content.trainer_spec.byte_fallback)
    prefixed = content.normalizer_spec.add_dummy_prefix
    unknown = next(id for id, (_, kind) in enumerate(pieces) if kind == UNKNOWN)
    if content.trainer_spec.model_type == UNIGRAM:
        low = min(piece.score for piece in content.pieces) - BELOW
        return {
            "type": "Unigram",
            "unk_id": unknown,
            "vocab": [
                [piece[1:], low]
                if prefixed and _is_word(piece, kind)
                else [piece, content.pieces[id].score]
                for id, (piece, kind) in enumerate(pieces)
            ],
            "byte_fallback": fallback,
        }
    scores = {piece.piece: piece.score for piece in content.pieces if piece.type == NORMAL}
    merges = [
        [piece[:at], piece[at:]]
        for piece in sorted(scores, key=lambda piece: -scores[piece])
        for at in range(1, len(piece))
        if piece[:at] in scores and piece[at:] in scores
    ]
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": pieces[unknown][0],
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": fallback,
        "ignore_merges": False,
        "vocab": {
            piece[1:] if prefixed and _is_word(piece, kind) else piece: id
            for id, (piece, kind) in enumerate(pieces)
        },
        "merges": merges,
    }


def _splits(content: Any) -> Part | None:
    """What keeps the spelled-out names of special tokens and bytes in a text from being found as pieces.

    In a unigram model `tokenizers` finds every piece, sentencepiece only the normal ones. A name is therefore
    split between two characters that no normal piece has side by side.
    """
    if content.trainer_spec.model_type != UNIGRAM:
        return None
    normal = [piece.piece for piece in content.pieces if piece.type == NORMAL]
    beside = {piece[at : at + 2] for piece in normal for at in range(len(piece) - 1)}
    single = {piece for piece in normal if len(piece) == 1}
    fallback = content.trainer_spec.byte_fallback
    names = [piece.piece for piece in content.pieces if piece.type in (UNKNOWN, CONTROL, BYTE)]
    places = []
    for name in names:
        for at in range(1, len(name)):
            fused = not fallback and single.isdisjoint(name[at - 1 : at + 1])
            if name[at - 1 : at + 1] not in beside and not fused:
                places.append(f"(?<={re.escape(name[:at])})(?={re.escape(name[at:])})")
                break
    pattern = {"Regex": "|".join(places)}
    split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    return split if places else None


def _normalizers(spec: Any) -> list[Part]:
    """What is done to each line, or to a text without line breaks of their own."""
    rules = normalizers_of(spec.precompiled_charsmap)
    prefix = [{"type": "Prepend", "prepend": SPACE}] if spec.add_dummy_prefix else []
    spaces = replace(" ", SPACE)
    if not spec.remove_extra_whitespaces:
        return [*prefix, *rules, spaces]
    around = [replace(r"\A +", "", regex=True), replace(" {2,}", " ", regex=True)]
    return [*rules, *around, *prefix, spaces, replace(rf"{SPACE}+\z", "", regex=True)]


def _decoders(spec: Any) -> list[Part]:
    """How pieces become text again: without the space that was put before each line."""
    lines = [replace(rf"(?:\A|(?<=\n)){SPACE}", "", regex=True)] if spec.add_dummy_prefix else []
    return [{"type": "ByteFallback"}, {"type": "Fuse"}, *lines, replace(SPACE, " ")]


def _added(id: int, content: str, *, special: bool) -> Part:
    """An added token, which is found in the text as it is."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id, "content": content, **flags, "special": special}
