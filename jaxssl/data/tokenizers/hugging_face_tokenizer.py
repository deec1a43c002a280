"""Reads Hugging Face's tokenizer.json (WordPiece, byte-level BPE, Unigram) and BERT's vocab.txt."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tokenizers

from jaxssl.data.tokenizers.definition import MOST_IDS, check_ids, parse_definition
from jaxssl.data.tokenizers.given_texts import refuse_a_string
from jaxssl.data.tokenizers.pieces import (
    BYTE,
    SPACE,
    begins_word,
    byte_alphabet,
    is_chinese,
    is_mark,
)
from jaxssl.data.tokenizers.tokenizer import SPECIAL_NAMES, Tokenizer, fingerprint_of
from jaxssl.errors import InputError

CASED_SHARE = 0.01  # a vocabulary with more pieces with capital letters is for text with its case


class Meaning(NamedTuple):
    """The text that one vocabulary entry stands for, and its properties."""

    text: str
    """The entry in readable form, with real spaces."""
    starts_word: bool
    """Whether the entry begins a new word."""
    byte_length: int
    """UTF-8 bytes of text that the entry stands for."""


class HuggingFaceTokenizer(Tokenizer):
    """A tokenizer defined by a Hugging Face tokenizer.json.

    The padding, truncation and post-processing (added special tokens) that the file may define
    are turned off: `encode` returns the ids of the text alone, in full.

    WordPiece drops white space. Its pieces that begin a word count one byte more in `byte_length`,
    for the space before them, unless they are punctuation or Chinese; summed over English prose,
    this is the length of the text within 0.2 %. The bytes are those of the normalised text
    (lower-cased and without accents, where the tokenizer does that).

    Args:
      definition: The contents of a tokenizer.json, parsed or not.
      origin: Name of the source, such as its path, for error messages.
      names: Special tokens by their roles, where they are not the usual ones: `{"end": "<|im_end|>"}`.

    Raises:
      InputError: `definition` is not a valid tokenizer.json, or an id is too large or occurs twice.
    """

    kind = "hugging_face"
    definition: str
    """The contents of the tokenizer.json that `save` writes."""

    def __init__(
        self,
        definition: str | dict[str, Any],
        origin: str = "the file",
        *,
        names: Mapping[str, str] | None = None,
    ):
        parts = parse_definition(definition, origin)
        try:
            self.definition = json.dumps(parts, ensure_ascii=False, sort_keys=True)
            self._tokenizer = tokenizers.Tokenizer.from_str(self.definition)
        except Exception as error:  # tokenizers raises bare Exception
            reason = str(error).splitlines()[0][:200]
            raise InputError(f"{origin} is not a valid tokenizer.json: {reason}") from error
        self._tokenizer.encode_special_tokens = True  # "[MASK]" in a text is ordinary text
        pieces = self._pieces_by_id(parts, origin)
        own = len(pieces)
        ids = {piece: i for i, piece in enumerate(pieces) if piece}
        added = {token["id"]: token["special"] for token in parts.get("added_tokens") or ()}
        specials = {id for id, is_special in added.items() if is_special}
        usual: dict[str, tuple[str, ...]] = SPECIAL_NAMES
        if names and specials:  # a piece of text may be spelled like a special token (Qwen's <s>)
            usual = {
                role: tuple(name for name in known if name not in ids or ids[name] in specials)
                for role, known in SPECIAL_NAMES.items()
            }
        self._name_specials(pieces, usual, self._ids_of_names(ids, names or {}))
        if usual != SPECIAL_NAMES and names:
            self.names = dict(
                names
            )  # kept, so that what is saved and loaded is read in the same way
        style = _style(parts)
        meanings = [_added(p) if i in added else style(p) for i, p in enumerate(pieces)]
        self._texts = [meaning.text for meaning in meanings]
        self._set_tables(
            special=[
                not piece or i in specials or piece.startswith("[unused")
                for i, piece in enumerate(pieces[:own])
            ],
            starts_word=[meaning.starts_word for meaning in meanings],
            byte_length=[meaning.byte_length for meaning in meanings],
        )
        self._by_line = _white_space_is_dropped(parts)
        named = [json.dumps(self.names, sort_keys=True)] if self.names else []
        self.fingerprint = fingerprint_of(self.definition, *named)
        if parts["model"].get("end_of_word_suffix"):
            self.note = f"{origin} marks the ends of words, not their beginnings: each token counts as a word"

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Converts each of `texts` to token ids, int32 `[length]`, without special tokens."""
        refuse_a_string(texts)
        if not self._by_line:
            return [self._checked(ids) for ids in self._ids(list(texts))]
        # The library is faster on short strings
        lines = [text.split("\n") for text in texts]
        encoded = iter(self._ids([line for text in lines for line in text]))
        return [self._checked([i for _ in text for i in next(encoded)]) for text in lines]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of `ids`, a sequence `[length]`; special tokens are left out."""
        kept = [int(i) for i in ids if not self.special[i]]
        return self._tokenizer.decode(kept, skip_special_tokens=False)

    def normalized(self, word: str) -> str | None:
        """Returns a `word` as the vocabulary is asked for it; None if the tokenizer splits it."""
        normalizer, splitter = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        text = word if normalizer is None else normalizer.normalize_str(word)
        parts = [(text, None)] if splitter is None else splitter.pre_tokenize_str(text)
        return str(parts[0][0]) if len(parts) == 1 else None

    def piece(self, id: int) -> str:
        """Returns the token `id` in readable form."""
        return self._texts[id].replace("\n", "\\n")

    def _write(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text(self.definition, encoding="utf-8")

    def _ids(self, texts: list[str]) -> list[list[int]]:
        try:
            encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        except Exception as error:  # tokenizers raises bare Exception
            raise InputError(f"the tokenizer cannot encode a text: {error}") from error
        return [encoding.ids for encoding in encoded]

    def _pieces_by_id(self, parts: dict[str, Any], origin: str) -> list[str]:
        """Returns the vocabulary ordered by id, with "" at unused ids, after checking the ids."""
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        check_ids(vocabulary, parts, origin)
        pieces = [""] * (max(vocabulary.values(), default=-1) + 1)
        for piece, i in vocabulary.items():
            pieces[i] = piece
        return pieces


def from_vocabulary(
    vocabulary: str,
    origin: str = "the vocabulary",
    *,
    lowercase: bool | None = None,
    names: Mapping[str, str] | None = None,
) -> HuggingFaceTokenizer:
    """Builds BERT's WordPiece tokenizer from the text of a vocab.txt.

    Args:
      vocabulary: The contents of the file: one piece per line, the line number is the id.
      origin: Name of the source, such as its path, for error messages.
      lowercase: Whether text is lower-cased and stripped of accents first. None means yes unless more
        than 1 % of the pieces with letters have capital letters; names of special tokens, such as
        [CLS], are not considered.

      names: Special tokens by their roles, where they are not the usual ones.

    Returns:
      The tokenizer.

    Raises:
      InputError: The vocabulary has no piece [UNK], or is too large.

    References:
      Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers for language
      understanding", section 3.
    """
    if vocabulary.count("\n") > MOST_IDS:
        raise InputError(f"{origin} has more than {MOST_IDS:,} lines; no vocabulary is so large")
    lines = vocabulary.removeprefix("\ufeff").removesuffix("\n").split("\n")
    pieces = [line.strip(" \t\r") for line in lines]
    if "[UNK]" not in pieces:
        raise InputError(
            f"{origin} is not a BERT vocabulary: there is no [UNK] among its {len(pieces)} lines"
        )
    note = ""
    if lowercase is None:
        lowercase, note = _decide_case(pieces)
    ids = {piece: i for i, piece in enumerate(pieces)}
    usual = [*(names or {}).values(), *(name for known in SPECIAL_NAMES.values() for name in known)]
    present = list(dict.fromkeys(name for name in usual if name in ids))
    few = {name: i for i, name in enumerate(present)}  # the library is slow with a million pieces
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(few, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = tokenizers.decoders.WordPiece()
    tokenizer.add_special_tokens(present)
    parts = json.loads(tokenizer.to_str())
    parts["model"]["vocab"] = ids
    added = [{**token, "id": ids[token["content"]]} for token in parts["added_tokens"]]
    parts["added_tokens"] = sorted(added, key=lambda token: token["id"])
    built = HuggingFaceTokenizer(parts, origin, names=names)
    built.note = f"{origin}: {note}" if note else ""
    return built


def _decide_case(pieces: Sequence[str]) -> tuple[bool, str]:
    """Returns whether a vocabulary is for lower-cased text, and that decision in words.

    A vocabulary of lower-cased text may have single capital letters, such as an added name.
    """
    words = [p for p in pieces if p[:1] not in ("[", "<") and p.lower() != p.upper()]
    capitals = sum(p != p.lower() for p in words)
    lowercase = capitals <= CASED_SHARE * len(words)
    found = f"{capitals:,} of {len(words):,} pieces have capital letters"
    if lowercase:
        return True, f"{found}, so text is lower-cased; lowercase=False keeps its case"
    return False, f"{found}, so the case of text is kept; lowercase=True lower-cases it"


def _style(parts: dict[str, Any]) -> Any:
    """Returns the function from a piece to its `Meaning`; it depends on how pieces mark white space."""
    model = parts["model"]
    prefix = model.get("continuing_subword_prefix")
    if suffix := model.get("end_of_word_suffix"):
        return lambda piece: _before_suffix(piece, suffix)
    if model.get("type") in ("WordPiece", "WordLevel") or (prefix and "merges" not in model):
        return lambda piece: _word_piece(piece, prefix or "##")
    if "ByteLevel" in json.dumps([parts.get("pre_tokenizer"), parts.get("decoder")]):
        alphabet = byte_alphabet()
        return lambda piece: _byte_level(piece, alphabet)
    return _metaspace


def _word_piece(piece: str, prefix: str) -> Meaning:
    """Interprets a piece of WordPiece, where `prefix` marks the continuation of a word."""
    size = len(piece) if piece.isascii() else len(piece.encode("utf-8"))
    if piece.startswith(prefix) and piece != prefix:
        return Meaning(piece, False, size - len(prefix.encode("utf-8")))
    spaced = not (is_mark(piece[:1]) or is_chinese(piece[:1]))
    return Meaning(piece, True, size + spaced)


def _byte_level(piece: str, alphabet: dict[str, int]) -> Meaning:
    """Interprets a piece of byte-level BPE, whose characters each stand for one byte."""
    if any(character not in alphabet for character in piece):
        return _added(piece)
    content = bytes(alphabet[character] for character in piece)
    text = content.decode("utf-8", "replace")
    return Meaning(text, begins_word(text), len(content))


def _before_suffix(piece: str, suffix: str) -> Meaning:
    """Interprets a piece where `suffix` marks the end of a word (CLIP); a space stands behind the word."""
    text = piece.removesuffix(suffix) + " " * piece.endswith(suffix)
    return Meaning(text, True, len(text.encode("utf-8")))


def _metaspace(piece: str) -> Meaning:
    """Interprets a piece that writes U+2581 for a space, and <0x00> for a byte."""
    if BYTE.fullmatch(piece):
        return Meaning(piece, False, 1)
    return _added(piece.replace(SPACE, " "))


def _added(text: str) -> Meaning:
    """Interprets a token that is spelled as the text that it stands for."""
    return Meaning(text, begins_word(text), len(text.encode("utf-8")))


def _white_space_is_dropped(parts: dict[str, Any]) -> bool:
    """Returns whether encoding line by line gives the same ids as encoding the whole text.

    This is so for BERT's normaliser and pre-tokenizer, if all added tokens are special ones.
    """
    kinds = [(parts.get(part) or {}).get("type") for part in ("normalizer", "pre_tokenizer")]
    added = parts.get("added_tokens") or ()
    return kinds == ["BertNormalizer", "BertPreTokenizer"] and all(t["special"] for t in added)
