"""sum_i w_i log sum_j exp s_ij, tile by tile."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.axes import AxisName
from jaxssl.losses.blockwise.forward_gradients import with_formed_gradient
from jaxssl.losses.blockwise.pair_tiles import (
    Columns,
    RowBlock,
    RunningLogSum,
    TileOptions,
    allowed_pairs,
    columns_of,
    from_blocks,
    pair_gradients,
    row_blocks,
    scan_blocks,
    similarities,
    tied_to_step,
    to_blocks,
    varying_zero,
)
from jaxssl.losses.blockwise.ring import around_ring
from jaxssl.losses.precision import NOTHING


def sum_of_log_sums(
    a: Float[Array, "n dim"],
    b: Float[Array, "n dim"] | None,
    weights: Float[Array, " n"],
    scale: Float[Array, ""],
    *,
    by_columns: bool = False,
    block: int,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    """This device's part of the sum; `b` None takes the rows themselves, without i = j.

    Parts are exact only when summed over the devices, in value and in gradient.
    """
    options = TileOptions(max(1, min(block, a.shape[0])), axis_name, b is None, by_columns)
    arrays = (a, scale) if b is None else (a, scale, b)
    return with_formed_gradient(
        partial(_log_sums_value, options), partial(_log_sums_gradient, options), arrays, weights
    )[0]


def _log_sums(
    options: TileOptions, a: Array, b: Array, weights: Array, scale: Array
) -> tuple[Array, Array]:
    """log sum_j exp s_ij of every row, and log sum_i of every column (if asked for)."""
    zero = varying_zero(options, a, b, weights, scale)
    zeros = jnp.zeros(weights.shape, zero.dtype) + zero
    nothing = RunningLogSum(zeros + NOTHING, zeros)
    blocks = row_blocks(options.block, a, weights, weights)
    by_row = RunningLogSum(*(to_blocks(options.block, part) for part in nothing))

    def visit(step: Array, by_row: RunningLogSum, travels: Any) -> tuple[RunningLogSum, Any]:
        columns, by_column = travels

        def add(
            by_column: RunningLogSum, block: tuple[RowBlock, RunningLogSum]
        ) -> tuple[RunningLogSum, RunningLogSum]:
            rows, by_row = block
            is_pair = allowed_pairs(options, step, rows, columns)
            tile = jnp.where(is_pair, similarities(rows, columns) * scale, NOTHING)
            if options.is_both:
                by_column = by_column.add(tile, axis=0)
            return by_column, by_row.add(tile, axis=1)

        by_column, by_row = scan_blocks(add, by_column, tied_to_step(step, blocks), by_row)
        return by_row, (columns, by_column)

    travels = (columns_of(b, weights, weights, zero), nothing)
    by_row, (_, by_column) = around_ring(visit, by_row, travels, options.axis_name)
    return from_blocks(by_row.log(), a.shape[0]), by_column.log()


def _total(options: TileOptions, weights: Array, by_row: Array, by_column: Array) -> Array:
    total = jnp.where(weights > 0, weights * by_row, 0.0).sum()
    if options.is_both:
        total += jnp.where(weights > 0, weights * by_column, 0.0).sum()
    return total


def _log_sums_value(
    options: TileOptions, arrays: tuple[Array, ...], weights: Array
) -> tuple[Array, tuple[()]]:
    a, scale, b = arrays[0], arrays[1], arrays[-1 if len(arrays) == 3 else 0]
    return _total(options, weights, *_log_sums(options, a, b, weights, scale)), ()


def _log_sums_gradient(
    options: TileOptions, arrays: tuple[Array, ...], weights: Array
) -> tuple[tuple[Array, tuple[()]], tuple[Array, ...]]:
    a, scale, b = arrays[0], arrays[1], arrays[-1 if len(arrays) == 3 else 0]
    by_row, by_column = _log_sums(options, a, b, weights, scale)
    total = _total(options, weights, by_row, by_column)

    def pull(step: Array, rows: RowBlock, columns: Columns) -> tuple[Array, Array]:
        """Similarities, and d total / d s_ij."""
        cosines = similarities(rows, columns)
        tile = jnp.where(allowed_pairs(options, step, rows, columns), cosines * scale, NOTHING)
        share = rows.weights[:, None] * jnp.exp(tile - rows.log_sums[:, None])
        if options.is_both or options.is_same:
            share += columns.weights[None] * jnp.exp(tile - columns.log_sums[None])
        return cosines, share

    log_sums = by_row if options.is_same else by_column
    zero = varying_zero(options, a, b, weights, scale)
    to_a, to_b, to_scale, _ = pair_gradients(
        options,
        pull,
        row_blocks(options.block, a, weights, by_row),
        columns_of(b, weights, log_sums, zero),
        (jnp.zeros(b.shape, zero.dtype) + zero, zero, zero),
    )
    to_a = (from_blocks(to_a, a.shape[0]) * scale).astype(a.dtype)
    if options.is_same:  # each pair was met from both its ends
        return (total, ()), (to_a, (to_scale / 2).astype(scale.dtype))
    return (total, ()), (to_a, to_scale.astype(scale.dtype), (to_b * scale).astype(b.dtype))
