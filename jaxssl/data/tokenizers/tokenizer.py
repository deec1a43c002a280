"""Tokenizers behind one face: sentencepiece models, tokenizer.json, BERT's vocab.txt."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxssl.data.tokenizers.pieces import ends_sentence

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


def fingerprint_of(*parts: bytes | str) -> str:
    """sha256 over the parts, each with its length before it."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8") if isinstance(part, str) else part
        total.update(f"{len(data)}:".encode() + data)
    return total.hexdigest()
