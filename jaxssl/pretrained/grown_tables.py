"""The tables of a network whose vocabulary has grown: new rows are means of those of the words' old pieces.

Every parameter with an axis "vocab" grows: embedding tables, output kernels, output biases. Before the first
step the states of a text without the words, and the logits of all old tokens, are those of the old network. A
new row at the output takes probability from the old ones: as its logit is the mean of its pieces' logits, it
has at most the mean of their probabilities.

References:
  Gee et al. 2022, "Fast vocabulary transfer for language model compression", section 3; Hewitt 2021,
  "Initializing new word embeddings for pretrained language models".
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.sharding.layout import axes_of

VOCAB = "vocab"


def grown_tables(
    learned: Mapping[str, Any], model: Any, rows: int, tokenizer: Tokenizer
) -> dict[str, Any]:
    """Returns the parameters of a model for a tokenizer that has grown from that of the model.

    The row of an id is the mean of the rows of its word's old pieces. An id that stands for another one has
    its row (`Tokenizer.stands_for`), and other special ids without a row have the mean of all rows. Rows
    behind the vocabulary, such as those of sentinels, stay behind it.

    Args:
      learned: Arrays of the model by the paths of its parameters.
      model: The model, for the names of its axes.
      rows: Number of ids of the model's vocabulary.
      tokenizer: The grown tokenizer.

    Returns:
      The arrays by their paths; those without a vocabulary are the same.

    Raises:
      InputError: A table has fewer rows than the vocabulary.
    """
    sources = _sources(rows, tokenizer)
    found = dict(learned)
    for path, axes in axes_of(model).items():
        if axes is None or VOCAB not in axes or path not in learned:
            continue
        axis = len(learned[path].shape) - len(axes) + axes.index(VOCAB)
        found[path] = _grown(learned[path], axis, rows, sources, path)
    return found


def _sources(rows: int, tokenizer: Tokenizer) -> dict[int, tuple[int, ...]]:
    """The old ids whose rows each changed or new id is the mean of; () for all."""
    sources: dict[int, tuple[int, ...]] = {}
    for id in range(rows, tokenizer.vocab_size):
        twin = tokenizer.stands_for.get(id, -1)
        sources[id] = (twin,) if 0 <= twin < rows else ()
    for id, pieces in tokenizer.grown.items():
        sources[id] = tuple(piece for piece in pieces if piece < rows)
    return sources


def _grown(
    array: Any, axis: int, rows: int, sources: Mapping[int, tuple[int, ...]], path: str
) -> Any:
    """One table with its changed and new rows."""
    if array.shape[axis] < rows:
        raise InputError(
            f"{path} has {array.shape[axis]} rows, and the vocabulary {rows} ids; start from another run"
        )
    table = np.moveaxis(np.asarray(array), axis, 0)
    own, behind = table[:rows], table[rows:]
    mean = own.mean(axis=0)
    grown = np.zeros((max([rows, *(id + 1 for id in sources)]), *own.shape[1:]), own.dtype)
    grown[:rows] = own
    for id, pieces in sources.items():
        grown[id] = own[list(pieces)].mean(axis=0) if pieces else mean
    return np.moveaxis(np.concatenate([grown, behind]), 0, axis)
