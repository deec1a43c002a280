"""The vectors of a run's words, off the disk: neighbours, and how alike two words are.

table = load_word_table("runs/skip_gram_novels")
table.nearest("king")                                  # [("queen", 0.71), …]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.models.pretraining.word_vectors import WordVectorModel
from jaxssl.pretrained.load import load_pretrained

CONTINUES = "##"  # before a token that does not begin a word, as WordPiece writes it


@dataclass(frozen=True)
class WordTable:
    """Words, each once, and their vectors."""

    words: tuple[str, ...]
    vectors: Float[np.ndarray, "words dim"]

    @cached_property
    def ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    @cached_property
    def units(self) -> Float[np.ndarray, "words dim"]:
        """The vectors, brought to length one."""
        lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return self.vectors / np.maximum(lengths, 1e-30)

    def nearest(self, word: str, count: int = 8) -> list[tuple[str, float]]:
        """The words of the highest cosine, nearest first, less the word itself and parts of words."""
        cosines = self.units @ self.units[self._id(word)]
        order = [i for i in np.argsort(-cosines) if not self.words[i].startswith(CONTINUES)]
        return [(self.words[i], float(cosines[i])) for i in order if self.words[i] != word][:count]

    def similarity(self, first: str, second: str) -> float:
        """The cosine of two words."""
        return float(self.units[self._id(first)] @ self.units[self._id(second)])

    def _id(self, word: str) -> int:
        if word not in self.ids:
            raise InputError(f"{word!r} is no token of its own; choose a more frequent word")
        return self.ids[word]


def load_word_table(run: str | Path) -> WordTable:
    """Of a run of `WordVectors`; of any other, the embeddings that its network reads tokens by."""
    pretrained = load_pretrained(run)
    model = pretrained.model
    is_word_table = isinstance(model, WordVectorModel)
    table = model.words if is_word_table else pretrained.objective.network(model).tokens
    names = token_names(pretrained.tokenizer)
    return WordTable(tuple(names), np.asarray(table.embedding[...])[list(names.values())])


def token_names(tokenizer: Tokenizer) -> dict[str, int]:
    """Name -> id of every token that stands for some text; a token inside a word is `##…`."""
    names: dict[str, int] = {}
    for id in np.flatnonzero(~tokenizer.special).tolist():
        text = tokenizer.piece(id).removeprefix(CONTINUES).strip()
        name = text if tokenizer.starts_word[id] else CONTINUES + text
        if text and len(text.split()) == 1:
            names.setdefault(name, id)
    return names


def show_neighbours(table: WordTable, words: Sequence[str], count: int = 8) -> str:
    """A line for every word: its nearest, with their cosines."""
    width = max(len(word) for word in words)
    lines = []
    for word in words:
        near = "  ".join(f"{name} {cosine:.2f}" for name, cosine in table.nearest(word, count))
        lines.append(f"{word:>{width}}: {near}")
    return "\n".join(lines)
