"""Reading and writing at places of rows, row by row: of a batch that is cut nothing is gathered.

An index array over (row, place) hides from the compiler that a row only ever looks at itself, and it
collects the whole batch on every device. A gather with the batch as its own dimension does not.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


def read_at(rows: Array, places: Int[Array, "batch places"]) -> Array:
    """rows[i, places[i, j]] for every i and j: [batch, length, ...] -> [batch, places, ...]."""
    return jax.vmap(lambda row, chosen: row[chosen])(rows, places)


def write_at(rows: Array, places: Int[Array, "batch places"], values: Any) -> Array:
    """The rows with `values` [batch, places] at their places, of which no two are the same."""
    return jax.vmap(lambda row, chosen, value: row.at[chosen].set(value, unique_indices=True))(
        rows, places, values
    )


def count_at(
    places: Int[Array, "batch places"], length: int, counted: Array
) -> Int[Array, "batch length"]:
    """How many of `counted` [batch, places] lie at every place of a row of `length`."""

    def one(chosen: Array, ones: Array) -> Array:
        return jnp.zeros(length, jnp.int32).at[chosen].add(ones.astype(jnp.int32))

    return jax.vmap(one)(places, counted)


def least_at(
    places: Int[Array, "batch places"], length: int, values: Int[Array, "batch places"], start: int
) -> Int[Array, "batch length"]:
    """The least of the `values` at every place of a row of `length`; `start` where there is none."""

    def one(chosen: Array, value: Array) -> Array:
        return jnp.full(length, start, value.dtype).at[chosen].min(value)

    return jax.vmap(one)(places, values)


def put_at(
    places: Int[Array, "batch places"], length: int, values: Array, fill: int | Array
) -> Int[Array, "batch length"]:
    """New rows of `fill` with `values` at their places; what has its place at `length` falls away."""

    def one(chosen: Array, value: Array) -> Array:
        return jnp.full(length, fill, value.dtype).at[chosen].set(value, mode="drop")

    return jax.vmap(one)(places, values)
