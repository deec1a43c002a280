"""Sums of log-sum-exp over all pairs of a batch, tile by tile, with gradients formed in the forward pass.

    L_i   = log sum_j exp(s_ij)              s_ij = scale * a_i . b_j, for pairs that both have weight
    total = sum_i w_i L_i                    and, where asked for, + sum_j w_j log sum_i exp(s_ij)

    d total / d s_ij = w_i exp(s_ij - L_i)   and, for the columns, + w_j exp(s_ij - L_j)

This is the denominator of InfoNCE and NT-Xent. The value takes one round of the ring; where a
gradient is asked for, a second round computes the derivatives from the finished log-sums and
multiplies them by the vectors.
"""

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
from jaxssl.losses.precision import NOTHING, gradient_type


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
    """Computes this device's part of sum_i w_i log sum_j exp(scale * a_i . b_j).

    The parts are exact only when they are summed over the devices, both value and gradient.

    Args:
      a: Unit vectors of this device, `[n, dim]`: the rows.
      b: Unit vectors of this device, `[n, dim]`: the columns. `None` takes the rows as columns,
        without the pairs of a row with itself (NT-Xent).
      weights: Non-negative weights of the pairs (a_i, b_i), `[n]`. Rows and columns of weight 0 are
        left out of all sums.
      scale: Factor of the similarities, a scalar: 1 / temperature.
      by_columns: Whether the same sum over the columns is added (symmetric InfoNCE).
      block: Rows of a tile.
      axis_name: Mapped axis over which the pairs are sharded.

    Returns:
      Scalar part of the sum, float32.
    """
    options = TileOptions(max(1, min(block, a.shape[0])), axis_name, b is None, by_columns)
    arrays = (a, scale) if b is None else (a, scale, b)
    return with_formed_gradient(
        partial(_log_sums_value, options), partial(_log_sums_gradient, options), arrays, weights
    )[0]


def _log_sums(
    options: TileOptions, a: Array, b: Array, weights: Array, scale: Array
) -> tuple[Array, Array]:
    """The log-sum-exp of every row, and of every column if asked for, both `[n]`; one round of the ring."""
    zero = varying_zero(options, a, b, weights, scale)
    zeros = jnp.zeros(weights.shape, zero.dtype) + zero
    nothing = RunningLogSum(zeros + NOTHING, zeros)
    blocks = row_blocks(options.block, a, weights, weights)
    by_row = RunningLogSum(*(to_blocks(options.block, part) for part in nothing))

    def visit(step: Array, by_row: RunningLogSum, travels: Any) -> tuple[RunningLogSum, Any]:
        """Adds the tiles of this device's rows and the visiting columns to the sums of both."""
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
    """The weighted sum of the log-sums."""
    total = jnp.where(weights > 0, weights * by_row, 0.0).sum()
    if options.is_both:
        total += jnp.where(weights > 0, weights * by_column, 0.0).sum()
    return total


def _log_sums_value(
    options: TileOptions, arrays: tuple[Array, ...], weights: Array
) -> tuple[Array, tuple[()]]:
    """The value alone, for `with_formed_gradient`. `arrays` are (a, scale) or (a, scale, b)."""
    a, scale, b = arrays[0], arrays[1], arrays[-1 if len(arrays) == 3 else 0]
    return _total(options, weights, *_log_sums(options, a, b, weights, scale)), ()


def _log_sums_gradient(
    options: TileOptions, arrays: tuple[Array, ...], weights: Array
) -> tuple[tuple[Array, tuple[()]], tuple[Array, ...]]:
    """The value and the gradients with respect to `arrays`, for `with_formed_gradient`."""
    a, scale, b = arrays[0], arrays[1], arrays[-1 if len(arrays) == 3 else 0]
    by_row, by_column = _log_sums(options, a, b, weights, scale)
    total = _total(options, weights, by_row, by_column)

    def derivative(step: Array, rows: RowBlock, columns: Columns) -> tuple[Array, Array]:
        """The similarities of a tile, and d total / d s_ij, `[block, columns]`."""
        cosines = similarities(rows, columns)
        tile = jnp.where(allowed_pairs(options, step, rows, columns), cosines * scale, NOTHING)
        derivatives = rows.weights[:, None] * jnp.exp(tile - rows.log_sums[:, None])
        if options.is_both or options.is_same:
            derivatives += columns.weights[None] * jnp.exp(tile - columns.log_sums[None])
        return cosines, derivatives

    log_sums = by_row if options.is_same else by_column
    zero = varying_zero(options, a, b, weights, scale)
    to_a, to_b, to_scale, _ = pair_gradients(
        options,
        derivative,
        row_blocks(options.block, a, weights, by_row),
        columns_of(b, weights, log_sums, zero),
        (jnp.zeros(b.shape, zero.dtype) + zero, zero, zero),
    )
    to_a = (from_blocks(to_a, a.shape[0]) * scale).astype(gradient_type(a))
    if options.is_same:  # every pair was counted twice, as (i, j) and as (j, i)
        return (total, ()), (to_a, (to_scale / 2).astype(scale.dtype))
    to_b = (to_b * scale).astype(gradient_type(b))
    return (total, ()), (to_a, to_scale.astype(scale.dtype), to_b)
