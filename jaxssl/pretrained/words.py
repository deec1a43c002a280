"""Word vectors of a run: the nearest neighbours of a word, and the similarity of two words.

table = load_word_table("runs/skip_gram_novels")
table.nearest("king")                                  # [("queen", 0.71), …]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxssl.data.tokenizers.given_texts import given_texts
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.models.pretraining.word_vectors import WordVectorModel
from jaxssl.pretrained.load import Pretrained, load_pretrained

CONTINUES = "##"  # prefix of a token that does not begin a word, as WordPiece writes it


@dataclass(frozen=True)
class WordTable:
    """Words and their vectors."""

    words: tuple[str, ...]
    """The words, each once; a token inside a word begins with `##`."""
    vectors: Float[np.ndarray, "words dim"]
    """Vector of each word, `[words, dim]`."""

    @cached_property
    def ids(self) -> dict[str, int]:
        """Row of each word in `vectors`."""
        return {word: i for i, word in enumerate(self.words)}

    @cached_property
    def units(self) -> Float[np.ndarray, "words dim"]:
        """The vectors divided by their Euclidean lengths, `[words, dim]`."""
        lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return self.vectors / np.maximum(lengths, 1e-30)

    def nearest(self, word: str, count: int = 8) -> list[tuple[str, float]]:
        """Finds the words with the highest cosine similarity to a word.

        Args:
          word: A word of the table.
          count: Largest number of neighbours.

        Returns:
          Pairs of a word and its cosine similarity, the nearest first, without the word itself and without
          tokens inside words.

        Raises:
          InputError: The word is not in the table, or `count` is below 1.
        """
        if count < 1:
            raise InputError(f"count={count} must be at least 1")
        cosines = self.units @ self.units[self._id(word)]
        order = [i for i in np.argsort(-cosines) if not self.words[i].startswith(CONTINUES)]
        return [(self.words[i], float(cosines[i])) for i in order if self.words[i] != word][:count]

    def similarity(self, first: str, second: str) -> float:
        """Computes the cosine similarity of the words `first` and `second`.

        Raises InputError if one of them is not in the table.
        """
        return float(self.units[self._id(first)] @ self.units[self._id(second)])

    def _id(self, word: str) -> int:
        if word not in self.ids:
            raise InputError(f"{word!r} is no token of its own; choose a more frequent word")
        return self.ids[word]


def load_word_table(run: str | Path) -> WordTable:
    """Loads the word vectors of the best checkpoint of `run`, a folder or a URL.

    For a run of `WordVectors` they are its input vectors, for any other run the token embeddings of its
    network. Raises InputError if there is no run or no checkpoint, or if the run has read no text.
    """
    return table_of(load_pretrained(run))


def table_of(pretrained: Pretrained) -> WordTable:
    """Returns the word vectors of a loaded run, `pretrained`, as `load_word_table` does.

    Raises InputError if the run has read no text.
    """
    model = pretrained.model
    is_word_table = isinstance(model, WordVectorModel)
    table = model.words if is_word_table else pretrained.text_network.tokens
    names = token_names(pretrained.tokenizer)
    return WordTable(tuple(names), np.asarray(table.embedding[...])[list(names.values())])


def token_names(tokenizer: Tokenizer) -> dict[str, int]:
    """Returns the id of every token of `tokenizer` that stands for some text, by its name.

    The name is the text, preceded by `##` if the token does not begin a word. Of several tokens with the
    same name, the first one is taken; tokens with white space inside are left out.
    """
    names: dict[str, int] = {}
    for id in np.flatnonzero(~tokenizer.special).tolist():
        text = tokenizer.piece(id).removeprefix(CONTINUES).replace("\\n", "\n").strip()
        name = text if tokenizer.starts_word[id] else CONTINUES + text
        if text and len(text.split()) == 1:
            names.setdefault(name, id)
    return names


def show_neighbours(table: WordTable, words: Sequence[str], count: int = 8) -> str:
    """Formats the nearest neighbours of some words, one line a word, with the cosine similarities.

    Args:
      table: Word vectors.
      words: Words whose neighbours are shown.
      count: Number of neighbours of each word.

    Raises:
      InputError: A word is not in the table, or `words` is a single string.
    """
    words = given_texts(words, "words")
    width = max((len(word) for word in words), default=0)
    lines = []
    for word in words:
        near = "  ".join(f"{name} {cosine:.2f}" for name, cosine in table.nearest(word, count))
        lines.append(f"{word:>{width}}: {near}")
    return "\n".join(lines)
