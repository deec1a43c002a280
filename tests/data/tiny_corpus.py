"""A tiny corpus and vocabulary for tests of the data package."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import jaxssl
from jaxssl.data.preparing.split import name_hash
from jaxssl.data.sources.texts import Document, Skipped

WORDS = tuple(f"{a}{b}{c}" for a in "bdklm" for b in "aeiou" for c in "nrst")  # 100 of them
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# For programs that a test starts: they find the same jaxssl, installed or not.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(jaxssl.__file__).parents[1])}


@dataclass(frozen=True)
class Words:
    """Documents of random words: a few are long, one is empty for the tokenizer."""

    count: int = 60
    longest: int = 80  # words
    seed: int = 0

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        random = np.random.default_rng(self.seed)
        for number in range(self.count):
            words = random.choice(WORDS, random.integers(1, self.longest))
            text = " " if number == 7 else " ".join(words)
            yield Document(f"words {self.seed}#{number}", text)


@dataclass(frozen=True)
class Side:
    """The documents of random words on one side of a draw by name, a fifth of them held out."""

    words: Words
    held_out: bool

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        for document in self.words.documents():
            if (name_hash(document.name) < 0.2) == self.held_out:
                yield document


def write_vocabulary(folder: Path, words: int = len(WORDS)) -> str:
    """A BERT vocab.txt of the first words, so that nothing has to be trained."""
    path = folder / "vocab.txt"
    path.write_text("\n".join([*SPECIALS, *WORDS[:words]]) + "\n", encoding="utf-8")
    return str(path)


def write_text(path: Path, count: int = 60, seed: int = 0) -> str:
    """The corpus as a text file, documents with a blank line between."""
    texts = [document.text for document in Words(count, seed=seed).documents()]
    path.write_text("\n\n".join(text for text in texts if text.strip()) + "\n", encoding="utf-8")
    return str(path)
