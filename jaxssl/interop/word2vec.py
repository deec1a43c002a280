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
    if isinstance(words, str):
        raise InputError("words is a single string; pass a list of words")
    if len(set(words)) < len(words) or any(word.split() != [word] for word in words):
        raise InputError("words must differ, and hold no white space; leave the others out")
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"{len(words)} {vectors.shape[1]}\n")
        for word, vector in zip(words, vectors, strict=True):
            file.write(f"{word} {' '.join(f'{x:.6g}' for x in vector.tolist())}\n")


def read_word2vec(path: str | Path) -> tuple[list[str], Float[np.ndarray, "words dim"]]:
    """Reads the words and their vectors, float32 `[words, dim]`, from the text file `path`.

    Lines end at "\\n", since words may contain other characters that Python takes for line breaks. Raises
    InputError, with the number of the first wrong line, if the file is missing or not of the format.
    """
    try:
        lines = Path(path).read_bytes().decode("utf-8-sig").removesuffix("\n").split("\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, byte {error.start} is not UTF-8; convert the file") from error
    try:
        count, dim = (int(number) for number in lines[0].split())
    except ValueError as error:
        raise InputError(f"{path} does not begin with `count dim`") from error
    words, vectors = [], []
    for number, line in enumerate(lines[1:], 2):
        word, *numbers = line.rstrip(" \r").split(" ")
        if len(numbers) != dim:
            raise InputError(f"{path}, line {number}: {len(numbers)} numbers where dim is {dim}")
        try:
            vectors.append(np.array([float(x) for x in numbers], np.float32))
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        words.append(word)
    if len(words) != count:
        raise InputError(f"{path} holds {len(words)} words where its first line says {count}")
    return words, np.array(vectors, np.float32).reshape(count, dim)
