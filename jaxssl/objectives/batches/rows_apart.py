"""Corrupts the rows of a batch one by one, so that nothing that is drawn for a row depends on another row."""

from typing import Any

import jax
from jaxtyping import Array, Key

from jaxssl.objectives.batches.batch import Images, Text
from jaxssl.objectives.batches.row_axis import ROWS


def corrupt_apart(objective: Any, batch: Text | Images, keys: Key[Array, " batch"]) -> Any:
    """Makes the examples of a batch by calling `objective.corrupt` for every row.

    Weights are normalised over the whole batch as ever, since `share_evenly` sums over the mapped rows.

    Args:
      objective: An objective whose `corrupts_rows_apart` is True.
      batch: Rows as they were read, `[batch, ...]`.
      keys: Random key of each row, `[batch]`.

    Returns:
      Examples, whose arrays begin with the axis `batch`.
    """
    rows, form = jax.tree.flatten(_without_vocabulary(batch))

    def one(row: list[Array], key: Array) -> Any:
        made = jax.tree.unflatten(form, [array[None] for array in row])
        return objective.corrupt(_with_vocabulary(made, batch), key)

    examples = jax.vmap(one, axis_name=ROWS)(rows, keys)
    return jax.tree.map(lambda leaf: leaf[:, 0], examples)


def _without_vocabulary(batch: Text | Images) -> Any:
    """The arrays of a batch that have an entry for each row."""
    if isinstance(batch, Text):
        return batch.tokens
    captions: Any = None if batch.captions is None else batch.captions.tokens
    return batch._replace(captions=captions)


def _with_vocabulary(arrays: Any, batch: Text | Images) -> Text | Images:
    """The inverse of `_without_vocabulary`."""
    if isinstance(batch, Text):
        return Text(arrays, batch.vocabulary)
    if batch.captions is None:
        return arrays
    return arrays._replace(captions=Text(arrays.captions, batch.captions.vocabulary))
