"""Reads and writes the text format of word2vec: a line `count dim`, then a line `word x1 … xdim` a word.

This is what word2vec.c writes with `-binary 0`, and gensim's `KeyedVectors.load_word2vec_format` reads.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxssl.errors import InputError


def write_word2vec(
    path: str | Path, words: Sequence[str], vectors: Float[np.ndarray, "words dim"]
) -> None:
    """Writes word vectors to a text file, with six significant digits.

    Args:
      path: File to write.
      words: Words, each once, without white space.
      vectors: Vector of each word, `[words, dim]`.

    Raises:
      InputError: A word is empty, occurs twice, or contains white space.
    """
    if len(set(words)) < len(words) or any(len(word.split()) != 1 for word in words):
        raise InputError("words must differ, and hold no white space; leave the others out")
    with Path(path).open("w", encoding="utf-8") as file:
        file.write(f"{len(words)} {vectors.shape[1]}\n")
        for word, vector in zip(words, vectors, strict=True):
            file.write(f"{word} {' '.join(f'{x:.6g}' for x in vector.tolist())}\n")


def read_word2vec(path: str | Path) -> tuple[list[str], Float[np.ndarray, "words dim"]]:
    """Reads the words and their vectors, float32 `[words, dim]`, from the text file `path`.

    Raises InputError, with the number of the first wrong line, if the file is not of the format.
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    try:
        count, dim = (int(number) for number in lines[0].split())
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} does not begin with `count dim`") from error
    rows = [line.rstrip().split(" ") for line in lines[1:]]
    for number, row in enumerate(rows, 2):
        if len(row) != dim + 1:
            raise InputError(f"{path}, line {number}: {len(row) - 1} numbers where dim is {dim}")
    if len(rows) != count:
        raise InputError(f"{path} holds {len(rows)} words where its first line says {count}")
    vectors = np.array([row[1:] for row in rows], np.float32).reshape(count, dim)
    return [row[0] for row in rows], vectors
