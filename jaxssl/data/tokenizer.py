"""Tokenizers behind one face: sentencepiece models, tokenizer.json, BERT's vocab.txt."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxssl.data.pieces import ends_sentence
from jaxssl.data.stores import fetched, is_url
from jaxssl.errors import InputError

DESCRIPTION = "jaxssl.json"
# How vocabularies name the special tokens that we need; where several are there, the first is taken
SPECIAL_NAMES = {
    "pad": ("[PAD]", "<pad>", "<|padding|>"),
    "unknown": ("[UNK]", "<unk>"),
    "begin": ("[CLS]", "<s>", "<bos>", "<|begin_of_text|>"),
    "end": ("[SEP]", "</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>"),
}


class Tokenizer(ABC):
    """Text to ids and back, with what masking and metrics must know of every id.

    pad, unknown, begin, end, mask: five different ids. What a vocabulary lacks is added behind its
        ids. Text gives none of them, except unknown where a character has no piece.
    starts_word, bool [vocab]: the token begins a new word: after white space, or a Chinese
        character. True for special tokens.
    byte_length, int32 [vocab]: UTF-8 bytes of text that the token stands for, 0 for special tokens.
    ends_sentence, bool [vocab]: a full stop, an exclamation or a question mark.
    special, bool [vocab]: never predicted, and never drawn as a random replacement.
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
    ends_sentence: np.ndarray
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

    def _name_specials(
        self,
        pieces: list[str],
        names: Mapping[str, Sequence[str]],
        declared: Mapping[str, int] | None = None,
    ) -> None:
        """Finds the five special ids; appends to `pieces` those that are not there."""
        places = {piece: i for i, piece in reversed(list(enumerate(pieces)))}
        taken: set[int] = set()
        for role, known in names.items():
            said = (declared or {}).get(role, -1)
            found = [said] if said >= 0 else [places[name] for name in known if name in places]
            id = next((i for i in found if i not in taken), len(pieces))
            if id == len(pieces):
                pieces.append(known[0])
            taken.add(id)
            setattr(self, role, id)

    def _set_tables(
        self, special: Sequence[bool], starts_word: Sequence[bool], byte_length: Sequence[int]
    ) -> None:
        """The tables of all pieces; `special` may end before those that were added."""
        self.special = np.ones(len(starts_word), bool)
        self.special[: len(special)] = special
        self.special[[self.pad, self.unknown, self.begin, self.end, self.mask]] = True
        self.starts_word = np.array(starts_word, bool) | self.special
        self.byte_length = np.where(self.special, 0, byte_length).astype(np.int32)
        ends = [ends_sentence(self.piece(i)) for i in range(len(starts_word))]
        self.ends_sentence = np.array(ends, bool) & ~self.special
        self._forbidden = self.special.copy()
        self._forbidden[self.unknown] = False

    def _checked(self, ids: Sequence[int]) -> np.ndarray:
        """The ids of a text, int32. The text "[MASK]" is no mask, however the vocabulary has it."""
        found = np.array(ids, np.int32)
        forbidden = self._forbidden[found]
        if forbidden.any():
            found[forbidden] = self.unknown
        return found


def load_tokenizer(path: str | Path, *, lowercase: bool | None = None) -> Tokenizer:
    """From a folder written by `save`, a sentencepiece .model, a tokenizer.json, or a vocab.txt.

    The folder may be on an object store.
    lowercase: of a vocab.txt, which does not say it; None: if it has no upper-case piece.
    Raises InputError for what is missing or none of these.
    """
    from jaxssl.data.hugging_face_tokenizer import HuggingFaceTokenizer, from_vocabulary
    from jaxssl.data.sentencepiece_tokenizer import SentencePieceTokenizer

    if is_url(path):
        with fetched(path) as folder:
            return _load_folder(folder, lowercase)
    path = Path(path)
    if path.is_dir():
        return _load_folder(path, lowercase)
    if not path.is_file():
        raise InputError(
            f"tokenizer {path} does not exist; give a .model, a tokenizer.json, a vocab.txt or a "
            "folder that holds one"
        )
    if path.suffix == ".txt":
        return from_vocabulary(_text(path), str(path), lowercase=lowercase)
    if lowercase is not None:
        raise InputError(f"{path} says itself what it does with case; leave out lowercase")
    match path.suffix:
        case ".model":
            return SentencePieceTokenizer(path.read_bytes(), str(path))
        case ".json":
            return HuggingFaceTokenizer(_text(path), str(path))
    raise InputError(f"tokenizer {path} is no .model, .json or .txt file")


def fingerprint_of(*parts: bytes | str) -> str:
    """sha256 over the parts, each with its length before it."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8") if isinstance(part, str) else part
        total.update(f"{len(data)}:".encode() + data)
    return total.hexdigest()


def _load_folder(folder: Path, lowercase: bool | None) -> Tokenizer:
    for name in ("tokenizer.model", "spiece.model", "tokenizer.json", "vocab.txt"):
        if (folder / name).is_file():
            tokenizer = load_tokenizer(folder / name, lowercase=lowercase)
            break
    else:
        raise InputError(f"{folder} holds no tokenizer.model, tokenizer.json or vocab.txt")
    if (folder / DESCRIPTION).is_file():
        saved = json.loads(_text(folder / DESCRIPTION))["fingerprint"]
        if saved != tokenizer.fingerprint:
            raise InputError(f"the tokenizer in {folder} was changed after it was saved")
    return tokenizer


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"tokenizer {path}, byte {error.start} is no UTF-8") from error
