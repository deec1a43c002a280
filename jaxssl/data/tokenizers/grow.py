"""Grows a vocabulary by whole words: a tokenizer with more ids, for going on with new text.

    grown = grow(load_tokenizer("runs/base/tokenizer"), ["photosynthesis", "chloroplast"])
    grown.grown          # {8192: (311, 95, 4021), 8193: (88, 1020, 7)}: ids of the old pieces of each word
    grown.parent         # fingerprint of the tokenizer that it was grown from

A text in which none of the words occurs, also not as a part of another word, keeps its ids. Unused ids of
the vocabulary ([unused1], <|reserved_special_token_0|>) are taken first; the other words follow after the
last id.

    WordPiece             whole words of the vocabulary; what has a separator in it is an added token
    other tokenizer.json  added tokens, which are found where they stand as single words
    sentencepiece         user-defined symbols with the space before the word
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxssl.data.tokenizers.definition import MOST_IDS
from jaxssl.data.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.pieces import SPACE
from jaxssl.data.tokenizers.sentencepiece_definition import CONTROL, USER_DEFINED, parse_model
from jaxssl.data.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError, brief

# Spellings of vocabulary entries that are kept free for later
UNUSED = re.compile(r"\[unused\d+\]|<unused\d+>|<\|reserved_special_token_\d+\|>|<\|unused_\d+\|>")
LONGEST = 100  # characters of a word


def read_words(path: str | Path) -> tuple[str, ...]:
    """Reads words to add: the lines of a text file, or the words that a second tokenizer has tokens for.

    Args:
      path: A text file with one word a line, in UTF-8; or a tokenizer: a folder, a .json or a .model.

    Raises:
      InputError: The file is missing, or has no word.
    """
    path = Path(path)
    if path.is_dir() or path.suffix in (".json", ".model"):
        other = load_tokenizer(path)
        ids = np.flatnonzero(other.starts_word & ~other.special)
        texts = [other.piece(int(id)).strip() for id in ids]
        words = [text for text in texts if len(text) > 1 and text.isalpha()]
    else:
        try:
            words = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the words in {path} cannot be read: {error}") from error
    found = tuple(dict.fromkeys(word.strip() for word in words if word.strip()))
    if not found:
        raise InputError(f"{path} has no word; write one word a line")
    return found


def grow(tokenizer: Tokenizer, words: Iterable[str]) -> Tokenizer:
    """Returns a tokenizer with an id of its own for each of the words.

    Args:
      tokenizer: The tokenizer; it is left as it is.
      words: The words. Those that are a single token already are left out.

    Returns:
      The grown tokenizer, with `parent` and `grown`.

    Raises:
      InputError: A word has white space in it, is too long, or is none for this tokenizer; all words are
        single tokens already; or the vocabulary becomes too large.
    """
    listed = list(dict.fromkeys(words))
    for word in listed:
        if not word or len(word) > LONGEST or re.search(r"\s|" + SPACE, word):
            raise InputError(
                f"the word {brief(word)} cannot be added: a word has 1 to {LONGEST} characters and no white "
                "space"
            )
    old = [tuple(map(int, ids)) for ids in tokenizer.encode(listed)]
    chosen = {
        word: ids
        for word, ids in zip(listed, old, strict=True)
        if len(ids) > 1 or (len(ids) == 1 and ids[0] == tokenizer.unknown)
    }
    if not chosen:
        raise InputError(
            f"all {len(listed)} words are single tokens of the tokenizer already; add others"
        )
    if tokenizer.vocab_size + len(chosen) > MOST_IDS:
        raise InputError(
            f"with {len(chosen):,} more words the vocabulary has more than {MOST_IDS:,} ids"
        )
    if isinstance(tokenizer, SentencePieceTokenizer):
        grown: Tokenizer = _grown_pieces(tokenizer, list(chosen))
    elif isinstance(tokenizer, HuggingFaceTokenizer):
        grown = _grown_definition(tokenizer, list(chosen))
    else:
        raise InputError(f"a tokenizer of class {type(tokenizer).__name__} cannot be grown")
    grown.parent = tokenizer.fingerprint
    new = grown.encode(list(chosen))
    for (word, pieces), ids in zip(chosen.items(), new, strict=True):
        if len(ids) != 1 or ids[0] == grown.unknown:
            raise InputError(
                f"the word {brief(word)} cannot be added: the tokenizer changes it before it is looked up; "
                "write it as the tokenizer does, such as in lower case"
            )
        grown.grown[int(ids[0])] = tuple(id for id in pieces if id != tokenizer.unknown)
    return grown


def _grown_pieces(tokenizer: SentencePieceTokenizer, words: Sequence[str]) -> Tokenizer:
    """Adds the special tokens that the model lacks, so that their ids stay, and then the words."""
    content = parse_model(tokenizer.model)

    def add(piece: str, kind: int) -> None:
        content.pieces.add(piece=piece, score=0.0, type=kind)

    for id in range(tokenizer.own_size, tokenizer.vocab_size):
        add(tokenizer.piece(id), CONTROL)
    for word in words:
        add(tokenizer.normalized(word), USER_DEFINED)
    content.trainer_spec.vocab_size = len(content.pieces)
    return SentencePieceTokenizer(
        content.SerializeToString(), "the tokenizer", names=tokenizer.names
    )


def _grown_definition(tokenizer: HuggingFaceTokenizer, words: Sequence[str]) -> Tokenizer:
    """Adds the special tokens that the definition lacks, so that their ids stay, and then the words."""
    parts = json.loads(tokenizer.definition)
    model = parts["model"]
    added = list(parts.get("added_tokens") or ())
    is_word_piece = model["type"] == "WordPiece"
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    for id in range(tokenizer.own_size, tokenizer.vocab_size):
        added.append({**flags, "id": id, "content": tokenizer.piece(id), "special": True})
        if is_word_piece:
            model["vocab"][tokenizer.piece(id)] = id
    vocabulary = model["vocab"] if isinstance(model["vocab"], dict) else {}
    known = vocabulary | {token["content"]: token["id"] for token in added}
    free = sorted((id, piece) for piece, id in known.items() if UNUSED.fullmatch(piece))
    following = tokenizer.vocab_size
    for number, word in enumerate(words):
        if number < len(free):
            id, piece = free[number]
            is_inside = vocabulary.pop(piece, None) is not None
            added = [token for token in added if token["id"] != id]
        else:
            id, following, is_inside = following, following + 1, False
        plain = tokenizer.normalized(word)
        if is_word_piece and plain is not None:
            vocabulary[plain] = id
            continue
        if is_inside:
            vocabulary[word] = id
        added.append(
            {**flags, "id": id, "content": word, "single_word": True, "normalized": is_word_piece}
        )
    added.sort(key=lambda token: token["id"])
    grown: dict[str, Any] = parts | {"added_tokens": added}
    return HuggingFaceTokenizer(grown, "the grown tokenizer", names=tokenizer.names)
