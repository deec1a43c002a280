"""Hugging Face's tokenizer.json (WordPiece, byte-level BPE, …) and BERT's vocab.txt."""

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from jaxssl.data.tokenizer import Tokenizer, fingerprint_of
from jaxssl.errors import InputError

SPACE = "\u2581"
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
NAMES = {
    "pad": ("[PAD]", "<pad>"),
    "unknown": ("[UNK]", "<unk>"),
    "begin": ("[CLS]", "<s>", "<bos>"),
    "end": ("[SEP]", "</s>", "<eos>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>"),
}


class HuggingFaceTokenizer(Tokenizer):
    """Padding, truncation and the adding of special tokens that the file may ask for are left out."""

    kind = "hugging_face"

    def __init__(self, definition: str, origin: str = "the file"):
        try:
            parts = json.loads(definition)
            parts |= {"padding": None, "truncation": None, "post_processor": None}
            self._definition = json.dumps(parts, ensure_ascii=False, sort_keys=True)
            self._tokenizer = tokenizers.Tokenizer.from_str(self._definition)
        except Exception as error:  # tokenizers raises bare Exception
            raise InputError(f"{origin} is no tokenizer.json: {error}") from error
        self._tokenizer.encode_special_tokens = True  # "[MASK]" in a text is text
        own = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self._pieces = [self._tokenizer.id_to_token(i) or "" for i in range(own)]
        places = {piece: i for i, piece in reversed(list(enumerate(self._pieces)))}
        for name in NAMES:  # what the file lacks is added behind its ids
            setattr(self, name, self._find(name, places))
        self._style = _style(parts)
        added = {token["id"] for token in parts.get("added_tokens", ()) if token.get("special")}
        self.special = np.array(
            [i in added or not p or p.startswith("[unused") for i, p in enumerate(self._pieces)]
        )
        self.special[[self.pad, self.unknown, self.begin, self.end, self.mask]] = True
        starts = [_starts_word(piece, self._style) for piece in self._pieces]
        self.starts_word = np.array(starts) | self.special
        lengths = [_byte_length(piece, self._style) for piece in self._pieces]
        self.byte_length = np.where(self.special, 0, lengths).astype(np.int32)
        self.fingerprint = fingerprint_of(self._definition)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in found]

    def decode(self, ids: Sequence[int]) -> str:
        kept = [int(i) for i in ids if not self.special[i]]
        return str(self._tokenizer.decode(kept, skip_special_tokens=False))

    def piece(self, id: int) -> str:
        return self._pieces[id]

    def _write(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text(self._definition, encoding="utf-8")

    def _find(self, name: str, places: dict[str, int]) -> int:
        for piece in NAMES[name]:
            if piece in places:
                return places[piece]
        self._pieces.append(NAMES[name][0])
        return len(self._pieces) - 1


def from_vocabulary(path: Path, *, lowercase: bool | None = None) -> HuggingFaceTokenizer:
    """BERT's WordPiece from a vocab.txt, one piece a line (Devlin et al. 2019).

    A vocabulary without upper-case pieces is taken to be uncased where `lowercase` is not said.
    """
    pieces = path.read_text(encoding="utf-8").splitlines()
    if "[UNK]" not in pieces:
        raise InputError(f"{path} is no BERT vocabulary: it has no [UNK] among {len(pieces)} lines")
    if lowercase is None:
        plain = (piece for piece in pieces if not piece.startswith("["))
        lowercase = not any(piece != piece.lower() for piece in plain)
    vocabulary = {piece: i for i, piece in reversed(list(enumerate(pieces)))}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = tokenizers.decoders.WordPiece()
    specials = [name for names in NAMES.values() for name in names if name in vocabulary]
    tokenizer.add_special_tokens(specials)
    return HuggingFaceTokenizer(tokenizer.to_str(), str(path))


def _style(parts: dict[str, Any]) -> str:
    """How pieces show white space: "wordpiece" (##), "bytes" (Ġ) or "metaspace" (▁)."""
    if parts["model"].get("type") == "WordPiece":
        return "wordpiece"
    text = json.dumps([parts.get("pre_tokenizer"), parts.get("decoder")])
    return "bytes" if "ByteLevel" in text else "metaspace"


def _starts_word(piece: str, style: str) -> bool:
    if style == "wordpiece":
        return not piece.startswith("##")
    if style == "bytes":  # space, newline, tab, carriage return as the byte alphabet shows them
        return piece.startswith(("Ġ", "Ċ", "ĉ", "č"))
    return piece.startswith(SPACE)


def _byte_length(piece: str, style: str) -> int:
    if style == "bytes":
        return len(piece)
    if style == "metaspace":
        return 1 if BYTE.fullmatch(piece) else len(piece.replace(SPACE, " ").encode())
    if piece.startswith("##"):
        return len(piece[2:].encode())
    return len(piece.encode()) + (1 if _is_spaced(piece) else 0)


def _is_spaced(piece: str) -> bool:
    """WordPiece drops white space: a space is counted before a word, not before marks and Chinese."""
    first = piece[:1]
    if not first or unicodedata.category(first)[0] in "PS":
        return False
    return not any(low <= ord(first) <= high for low, high in ((0x3400, 0x9FFF), (0xF900, 0xFAFF)))
