"""Sums over the rows of a batch, and what stands in its other rows, where rows are corrupted one by one.

`corrupt` of an objective usually sees the whole global batch. In evaluation it is mapped over the rows
(`rows_apart.py`), so that what is drawn for a row depends on no other; the rows of the batch are then the
axis `ROWS` of `jax.vmap`. The functions here give the same results in both cases.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

ROWS = "rows"  # name of the mapped axis


def is_mapped() -> bool:
    """Returns whether the rows of the batch are the mapped axis `ROWS`; for use while tracing."""
    try:
        jax.lax.axis_size(ROWS)
    except NameError:  # JAX's error for an axis that is not bound
        return False
    return True


def over_rows_of_batch(total: Array) -> Array:
    """Sums `total`, which the rows at hand add up to, over all rows of the batch."""
    return jax.lax.psum(total, ROWS) if is_mapped() else total


def all_rows(rows: Array) -> Array:
    """Returns the values of all rows of the batch, `[batch, ...]`, of those of the `rows` at hand."""
    return jax.lax.all_gather(rows, ROWS, tiled=True) if is_mapped() else rows


def row_numbers(count: int) -> Int[Array, " count"]:
    """Returns the numbers that the `count` rows at hand have in the batch, int32 `[count]`."""
    first = jax.lax.axis_index(ROWS) * count if is_mapped() else 0
    return first + jnp.arange(count)
