"""The interface of all tokenizers, whether sentencepiece, Hugging Face or WordPiece.

`Tokenizer` is abstract; `jaxssl.data.tokenizers.load.load_tokenizer` opens one from a file. The
tables below have one entry for each id, `[vocab]`.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxssl.data.stores.json_files import write_json
from jaxssl.data.tokenizers.pieces import ends_sentence

DESCRIPTION = "jaxssl.json"  # the file that `save` adds; it holds the kind and the fingerprint
# The usual names of the special tokens that we need; of several names present, the first is used
SPECIAL_NAMES = {
    "pad": ("[PAD]", "<pad>", "<|padding|>"),
    "unknown": ("[UNK]", "<unk>"),
    "begin": ("[CLS]", "<s>", "<bos>", "<|begin_of_text|>"),
    "end": ("[SEP]", "</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>"),
}
# Where one token has several roles, as <|endoftext|> of GPT-2 has, the first role here keeps it
PRECEDENCE = ("end", "begin", "mask", "unknown", "pad")
SPECIALS = (
    "special_tokens_map.json"  # names of the special tokens, where they are not the usual ones
)
ROLE_NAMES = {
    "pad": "pad_token",
    "unknown": "unk_token",
    "begin": "cls_token",
    "end": "sep_token",
    "mask": "mask_token",
}


class Tokenizer(ABC):
    """Converts text to token ids and back, and describes every id for masking and metrics.

    The five special ids `pad`, `unknown`, `begin`, `end` and `mask` always differ from each other.
    Those that a vocabulary does not define get new ids after its last one. Encoding a text never
    yields one of them, except `unknown` for a character that the vocabulary cannot express.
    """

    kind: str
    """Name of the file format, saved beside the tokenizer: "sentencepiece" or "hugging_face"."""
    pad: int
    """Id that fills the unused end of a row."""
    unknown: int
    """Id for text that the vocabulary cannot express."""
    begin: int
    """Id that marks the beginning of a sequence ([CLS], <s>)."""
    end: int
    """Id that ends a sequence and separates documents ([SEP], </s>)."""
    mask: int
    """Id that replaces a hidden token in masked language modelling."""
    starts_word: np.ndarray
    """Whether each token begins a new word, bool `[vocab]`: it begins with white space or a Chinese
    character, or has no continuation prefix (WordPiece). True for special tokens."""
    byte_length: np.ndarray
    """UTF-8 bytes of text that each token stands for, int32 `[vocab]`; 0 for special tokens."""
    ends_sentence: np.ndarray
    """Whether each token is punctuation that ends a sentence (. ! ?), bool `[vocab]`."""
    special: np.ndarray
    """Whether each token is special, bool `[vocab]`: it is never predicted, and never drawn as a
    random replacement."""
    fingerprint: str
    """SHA-256, in hexadecimal, of everything that affects the ids."""
    names: Mapping[str, str] = {}
    """Special tokens by their roles, where the files that the tokenizer comes from name others than usual."""
    stands_for: Mapping[int, int]
    """Ids that were added for roles whose token has another role, with the id of that token. In GPT-2's
    vocabulary <|endoftext|> is `end`; `begin` has an id of its own, which stands for it."""
    own_size: int
    """Number of ids of the vocabulary itself. Those of special tokens that it lacks follow; they have no row
    in the tables of a network that was trained with the vocabulary elsewhere."""
    parent: str = ""
    """Fingerprint of the tokenizer that this one was grown from by new words; "" for none (`grow.py`)."""
    grown: dict[int, tuple[int, ...]]
    """Ids of the words that it was grown by, each with the ids that the parent gives the word."""
    note: str = ""
    """What was decided when the tokenizer was made, such as that text is lower-cased; "" for nothing."""

    def with_row(self, id: int, rows: int) -> int:
        """Returns `id` where it is below `rows`, the rows of a network's table, else the id it stands for."""
        return id if id < rows else self.stands_for.get(id, id)

    @property
    def vocab_size(self) -> int:
        """Returns the number of ids, including the special ids that were added."""
        return len(self.special)

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Converts each text to token ids, without `begin` and `end`.

        Args:
          texts: Any number of texts. The name of a special token in a text, such as "[MASK]", is
            ordinary text.

        Returns:
          One int32 array `[length of the text in tokens]` for each text, in the same order.

        Raises:
          InputError: `texts` is a single string.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of `ids`, a sequence `[length]`; special tokens are left out."""

    @abstractmethod
    def piece(self, id: int) -> str:
        """Returns the token `id` in readable form: with real spaces, and a line break as `\\n`."""

    @abstractmethod
    def _write(self, folder: Path) -> None:
        """Writes the files of this kind of tokenizer into an existing folder."""

    def save(self, folder: str | Path) -> None:
        """Writes the files that `load_tokenizer` needs into `folder`, which is created if missing."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._write(folder)
        if self.names:
            write_json(
                folder / SPECIALS, {ROLE_NAMES[role]: name for role, name in self.names.items()}
            )
        description: dict[str, Any] = {"kind": self.kind, "fingerprint": self.fingerprint}
        if self.parent:
            grown = {str(id): list(pieces) for id, pieces in self.grown.items()}
            description |= {"parent": self.parent, "grown": grown}
        write_json(folder / DESCRIPTION, description, indent=None)

    def _name_specials(
        self,
        pieces: list[str],
        names: Mapping[str, Sequence[str]],
        declared: Mapping[str, int] | None = None,
    ) -> None:
        """Sets the five special ids; special tokens that `pieces` lacks are appended to it.

        `names` lists the usual spellings by role; `declared` holds the ids that the model's own
        file names by role, -1 for none, and has priority.
        """
        self.own_size, self.grown = len(pieces), {}
        ids = {piece: i for i, piece in reversed(list(enumerate(pieces)))}
        found: dict[str, int] = {}
        shared: dict[str, int] = {}
        for role in PRECEDENCE:
            said = (declared or {}).get(role, -1)
            usual = [ids[name] for name in names[role] if name in ids]
            options = [said] if said >= 0 else usual
            taken = found.values()
            if (id := next((i for i in options if i not in taken), None)) is not None:
                found[role] = id
            elif said >= 0:
                shared[role] = said
        self.stands_for = {}
        for role, known in names.items():
            if role not in found:
                found[role] = len(pieces)
                pieces.append(known[0])
            setattr(self, role, found[role])
            if role in shared:
                self.stands_for[found[role]] = shared[role]

    def _ids_of_names(self, ids: Mapping[str, int], names: Mapping[str, str]) -> dict[str, int]:
        """Sets `names`, and returns the ids of the special tokens that it names; -1 for those not there."""
        unusual = {
            role: name
            for role, name in names.items()
            if name in ids and next((n for n in SPECIAL_NAMES[role] if n in ids), "") != name
        }
        self.names = dict(names) if unusual else {}
        return {role: ids.get(name, -1) for role, name in self.names.items()}

    def _set_tables(
        self, special: Sequence[bool], starts_word: Sequence[bool], byte_length: Sequence[int]
    ) -> None:
        """Sets the tables `[vocab]`; `special` may be shorter: the ids after its end are special."""
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
        """Returns `ids` as int32, special ids replaced by `unknown`.

        The text "[MASK]" must not become the mask token, even where the vocabulary has such a piece.
        """
        found = np.array(ids, np.int32)
        forbidden = self._forbidden[found]
        if forbidden.any():
            found[forbidden] = self.unknown
        return found


def fingerprint_of(*parts: bytes | str) -> str:
    """Returns the SHA-256, in hexadecimal, of all `parts`, each preceded by its length in bytes.

    The lengths make `("ab", "c")` and `("a", "bc")` differ. Strings are hashed as UTF-8.
    """
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8") if isinstance(part, str) else part
        total.update(f"{len(data)}:".encode() + data)
    return total.hexdigest()
