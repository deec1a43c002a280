"""Reads and writes at positions of rows, row by row, so that a sharded batch is never gathered.

An index array over (row, position) hides from the compiler that a row only ever reads itself, and the
compiler collects the whole batch on every device. A gather with the batch as a dimension of its own does not.

    batch    rows         length   entries of a row         count    positions that are looked at in a row
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


def read_at(rows: Array, positions: Int[Array, "batch count"]) -> Array:
    """Reads `rows[i, positions[i, j]]` for every i and j.

    Args:
      rows: Array `[batch, length, ...]`.
      positions: Positions to read, `[batch, count]`.

    Returns:
      What stands there, `[batch, count, ...]`.
    """
    return jax.vmap(lambda row, chosen: row[chosen])(rows, positions)


def write_at(rows: Array, positions: Int[Array, "batch count"], values: Any) -> Array:
    """Replaces what stands at some positions.

    Args:
      rows: Array `[batch, length]`.
      positions: Positions to write, `[batch, count]`, different within a row.
      values: New values, `[batch, count]`.

    Returns:
      A new array `[batch, length]`.
    """
    return jax.vmap(lambda row, chosen, value: row.at[chosen].set(value, unique_indices=True))(
        rows, positions, values
    )


def count_at(
    positions: Int[Array, "batch count"], length: int, counted: Array
) -> Int[Array, "batch length"]:
    """Counts how often each position of a row occurs.

    Args:
      positions: Positions, `[batch, count]`.
      length: Length of a row.
      counted: Whether each of them counts, `[batch, count]`.

    Returns:
      Counts, `[batch, length]`.
    """

    def one(chosen: Array, ones: Array) -> Array:
        return jnp.zeros(length, jnp.int32).at[chosen].add(ones.astype(jnp.int32))

    return jax.vmap(one)(positions, counted)


def least_at(
    positions: Int[Array, "batch count"],
    length: int,
    values: Int[Array, "batch count"],
    start: int,
) -> Int[Array, "batch length"]:
    """Computes the smallest of the values at each position of a row.

    Args:
      positions: Position of each value, `[batch, count]`.
      length: Length of a row.
      values: Whole numbers, `[batch, count]`.
      start: Upper limit of the results, which stands where there is no value.

    Returns:
      Smallest values, `[batch, length]`.
    """

    def one(chosen: Array, value: Array) -> Array:
        return jnp.full(length, start, value.dtype).at[chosen].min(value)

    return jax.vmap(one)(positions, values)


def put_at(
    positions: Int[Array, "batch count"], length: int, values: Array, fill: int | Array
) -> Int[Array, "batch length"]:
    """Makes new rows with values at some positions.

    Args:
      positions: Position of each value, `[batch, count]`; a value whose position is `length` is dropped.
      length: Length of the new rows.
      values: Values, `[batch, count]`.
      fill: What stands at all other positions.

    Returns:
      Rows, `[batch, length]`.
    """

    def one(chosen: Array, value: Array) -> Array:
        return jnp.full(length, fill, value.dtype).at[chosen].set(value, mode="drop")

    return jax.vmap(one)(positions, values)
