"""Sums over all pairs of a batch, tile by tile: no matrix of all pairs is ever held.

    s_ij = scale a_i . b_j                      over pairs (i, j) whose rows both have weight
    log_sums   sum_i w_i log sum_j exp s_ij     by rows; by columns too, or with b = a and j != i
    logistic   sum_ij (w_i + w_j) / 2 log(1 + exp(-y_ij (s_ij + bias))),   y = 1 where i = j, else -1

Rows stay on their device and are visited `block` at a time. Columns go round the devices in a ring, with
what is added up for them (running maxima and sums, gradients), and are home again at the end. A tile is
[block, columns of one device]. Where a gradient is asked for, it is formed in the forward pass: log_sums
goes round once for the sums and once more for softmax(tile) times the vectors.
With b = a the matrix is symmetric, so row i alone gathers its whole gradient, that as a column too.

    a, b     [n, dim] unit vectors of this device     block    rows of a tile
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.losses.axes import AxisName, zero_of
from jaxssl.losses.blockwise.ring import around_ring
from jaxssl.losses.precision import NOTHING, softmax_type


class RowBlock(NamedTuple):
    """Cut into blocks [blocks, block, …] for `lax.scan`."""

    vectors: Float[Array, "*blocks block dim"]
    weights: Float[Array, "*blocks block"]
    log_sums: Float[Array, "*blocks block"]
    numbers: Int[Array, "*blocks block"]


class Columns(NamedTuple):
    vectors: Float[Array, "columns dim"]
    weights: Float[Array, " columns"]
    log_sums: Float[Array, " columns"]


class RunningLogSum(NamedTuple):
    """sum exp(s) kept as exp(top) * total."""

    top: Float[Array, " n"]
    total: Float[Array, " n"]

    def add(self, tile: Array, axis: int) -> "RunningLogSum":
        top = jnp.maximum(self.top, tile.max(axis=axis, initial=NOTHING))
        grown = jnp.exp(tile - jnp.expand_dims(top, axis)).sum(axis=axis)
        return RunningLogSum(top, self.total * jnp.exp(self.top - top) + grown)

    def log(self) -> Array:
        return self.top + jnp.log(jnp.where(self.total > 0, self.total, 1.0))


class TileOptions(NamedTuple):
    block: int
    axis_name: AxisName
    is_same: bool  # the columns are the rows, and no row meets itself
    is_both: bool  # log-sums over columns as well


def varying_zero(options: TileOptions, *arrays: Array) -> Array:
    """A zero that varies as the arrays do, and over the ring's axis."""
    zero = zero_of(*(jnp.atleast_1d(array) for array in arrays))
    if options.axis_name is not None:
        zero += (0 * jax.lax.axis_index(options.axis_name)).astype(zero.dtype)
    return zero.astype(softmax_type(*arrays))


def to_blocks(block: int, array: Array) -> Array:
    """Padded with zeros, [n, …] -> [blocks, block, …]."""
    padding = [(0, -array.shape[0] % block)] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, padding).reshape(-1, block, *array.shape[1:])


def row_blocks(block: int, vectors: Array, weights: Array, log_sums: Array) -> RowBlock:
    parts = [to_blocks(block, array) for array in (vectors, weights, log_sums)]
    numbers = jnp.arange(parts[0].shape[0] * block).reshape(-1, block)
    return RowBlock(parts[0], parts[1], parts[2], numbers)


def from_blocks(blocks: Array, count: int) -> Array:
    return blocks.reshape(-1, *blocks.shape[2:])[:count]


def scan_blocks(add: Any, sums: Any, blocks: RowBlock, states: Any) -> tuple[Any, Any]:
    """add(sums, (rows, state)) -> (sums, state) for each block; one without weight costs nothing."""

    def visit(sums: Any, block: tuple[RowBlock, Any]) -> tuple[Any, Any]:
        is_used = (block[0].weights > 0).any()
        return jax.lax.cond(is_used, add, lambda sums, block: (sums, block[1]), sums, block)

    return jax.lax.scan(visit, sums, (blocks, states))


def tied_to_step(step: Array, blocks: RowBlock) -> RowBlock:
    """The same blocks, tied to a step of the ring.

    `jax.grad` moves out of a scan what depends on its constants alone (JAX 0.10 to 0.12). Of the ring
    that would be the masks of all tiles at once: a matrix of all pairs of a device.
    """
    zero = 0 * step
    weights = blocks.weights + zero.astype(blocks.weights.dtype)
    return blocks._replace(weights=weights, numbers=blocks.numbers + zero)


def similarities(rows: RowBlock, columns: Columns) -> Array:
    kind = softmax_type(rows.vectors)
    return jnp.einsum("id,jd->ij", rows.vectors, columns.vectors, preferred_element_type=kind)


def allowed_pairs(
    options: TileOptions, step: Array, rows: RowBlock, columns: Columns
) -> Bool[Array, "i j"]:
    is_valid = (rows.weights > 0)[:, None] & (columns.weights > 0)[None]
    if not options.is_same:
        return is_valid
    return is_valid & ~(own_pairs(rows, columns) & (step == 0))


def own_pairs(rows: RowBlock, columns: Columns) -> Bool[Array, "i j"]:
    """At step 0 of the ring: the pair of a row with the column of the same number."""
    return rows.numbers[:, None] == jnp.arange(columns.weights.shape[0])[None]


def columns_of(b: Array, weights: Array, log_sums: Array, zero: Array) -> Columns:
    return Columns(b + zero.astype(b.dtype), weights + zero, log_sums + zero)


def pair_gradients(
    options: TileOptions,
    pull: Any,
    blocks: RowBlock,
    columns: Columns,
    start: tuple[Array, Array, Array],
) -> tuple[Array, Array, Array, Array]:
    """sum_j g_ij b_j (in blocks), sum_i g_ij a_i, sum_ij g_ij a_i.b_j and sum_ij g_ij, g of `pull`."""
    kind = softmax_type(blocks.vectors)
    to_a = jnp.zeros(blocks.vectors.shape, kind) + start[1]

    def visit(step: Array, stays: Any, travels: Any) -> tuple[Any, Any]:
        to_a, to_scale, to_bias = stays
        columns, to_b = travels

        def add(sums: Any, block: tuple[RowBlock, Array]) -> tuple[Any, Array]:
            rows, to_row = block
            cosines, share = pull(step, rows, columns)
            to_b, to_scale, to_bias = sums
            to_scale += (share * cosines).sum()
            narrow = share.astype(rows.vectors.dtype)
            product = partial(jnp.einsum, preferred_element_type=kind)
            to_row += product("ij,jd->id", narrow, columns.vectors)
            if not options.is_same:
                to_b += product("ij,id->jd", narrow, rows.vectors)
            return (to_b, to_scale, to_bias + share.sum()), to_row

        sums, to_a = scan_blocks(add, (to_b, to_scale, to_bias), tied_to_step(step, blocks), to_a)
        return (to_a, sums[1], sums[2]), (columns, sums[0])

    stays, (_, to_b) = around_ring(
        visit, (to_a, start[1], start[2]), (columns, start[0]), options.axis_name
    )
    return stays[0], to_b, stays[1], stays[2]
