"""Tokenizers behind one face: sentencepiece models, Hugging Face's tokenizer.json, BERT's vocab.txt."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxssl.errors import InputError

DESCRIPTION = "jaxssl.json"


class Tokenizer(ABC):
    """Text to ids and back, with what masking and metrics must know of every id.

    pad, unknown, begin, end, mask: ids of the special tokens; text never gives one of them.
    starts_word [vocab]: the token begins a new word, words being parted by white space.
    byte_length [vocab]: UTF-8 bytes of text that the token stands for, 0 for special tokens.
    special [vocab]: never predicted, and never drawn as a random replacement.
    fingerprint: sha256 over everything that changes ids.
    """

    kind: str
    pad: int
    unknown: int
    begin: int
    end: int
    mask: int
    starts_word: np.ndarray
    byte_length: np.ndarray
    special: np.ndarray
    fingerprint: str

    @property
    def vocab_size(self) -> int:
        return len(self.special)

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """int32 ids of every text, without begin and end."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special tokens give none."""

    @abstractmethod
    def piece(self, id: int) -> str:
        """One token in readable form."""

    @abstractmethod
    def _write(self, folder: Path) -> None: ...

    def save(self, folder: str | Path) -> None:
        """Writes all that `load_tokenizer` needs into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._write(folder)
        description = {"kind": self.kind, "fingerprint": self.fingerprint}
        (folder / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")


def load_tokenizer(path: str | Path) -> Tokenizer:
    """From a folder written by `save`, a sentencepiece .model, a tokenizer.json, or a vocab.txt."""
    from jaxssl.data.hugging_face_tokenizer import HuggingFaceTokenizer, from_vocabulary
    from jaxssl.data.sentencepiece_tokenizer import SentencePieceTokenizer

    path = Path(path)
    if path.is_dir():
        return _load_folder(path)
    if not path.is_file():
        raise InputError(
            f"tokenizer {path} does not exist; give a .model, a tokenizer.json, a vocab.txt or a "
            "folder that holds one"
        )
    match path.suffix:
        case ".model":
            return SentencePieceTokenizer(path.read_bytes(), str(path))
        case ".json":
            return HuggingFaceTokenizer(path.read_text(encoding="utf-8"), str(path))
        case ".txt":
            return from_vocabulary(path)
    raise InputError(f"tokenizer {path} is no .model, .json or .txt file")


def _load_folder(folder: Path) -> Tokenizer:
    for name in ("tokenizer.model", "spiece.model", "tokenizer.json", "vocab.txt"):
        if (folder / name).is_file():
            tokenizer = load_tokenizer(folder / name)
            break
    else:
        raise InputError(f"{folder} holds no tokenizer.model, tokenizer.json or vocab.txt")
    if (folder / DESCRIPTION).is_file():
        saved = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["fingerprint"]
        if saved != tokenizer.fingerprint:
            raise InputError(f"the tokenizer in {folder} was changed after it was saved")
    return tokenizer


def fingerprint_of(*parts: bytes | str) -> str:
    """sha256 over the parts, each with its length before it."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(f"{len(data)}:".encode() + data)
    return total.hexdigest()
