"""The backward kernel: weights are computed again, block by block (Dao et al. 2022, algorithm 4).

One kernel computes the gradients of queries, keys and values. Those of keys and values are added up while the
blocks of queries pass; that of the queries stays on the chip until all blocks of keys have passed, for as
many queries as `queries_held` says. Longer rows are cut into such pieces.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array

from jaxssl.models.layers.flash.blocks import (
    FLOOR,
    Inputs,
    Options,
    cost,
    dropped_in_block,
    head_of_lane,
    part_of_tile,
    product,
    spans,
    turn,
    visible_in_block,
    visited,
    within_row,
)


def backward(
    options: Options,
    inputs: Inputs,
    mixed: Array,
    logarithms: Array,
    cotangent: Array,
    first_query: int = 0,
) -> tuple[Array, Array, Array]:
    """Computes the gradients of queries, keys and values.

    Args:
      options: What is known while tracing.
      inputs: What the kernels read.
      mixed: What `forward` returned, `[batch, length, width]`.
      logarithms: What `forward` returned, `[batch, tiles, heads_per_tile, whole blocks]`.
      cotangent: Gradient of the mixed values, `[batch, length, width]`.
      first_query: Position of the first of these queries in its row.

    Returns:
      Gradients of queries, keys and values, in their shapes and types.
    """
    queries, keys, values, segments, key_marks, scalars, touches, turns = inputs
    (batch, length, width), lanes = queries.shape, options.lanes
    (block, key_block), tiles = options.blocks, width // lanes
    whole = -(-length // block) * block
    first, last, longest = spans(touches.transpose(0, 2, 1))
    read, of_keys = _blocks_of(options)
    if turns is not None:
        # Those of all queries at once: at the end the gradients of all their blocks are turned back.
        read += [pl.BlockSpec(x.shape, lambda *_: (0, 0, 0)) for x in turns[:2]]
        read.append(pl.BlockSpec((1, 2, lanes), lambda b, t, j, i, *_: (j, 0, 0)))
    kernel = pl.pallas_call(
        partial(_backward_block, options, first_query),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=3,
            grid=(batch, tiles, -(-keys.shape[1] // key_block), longest),
            in_specs=read,
            out_specs=[
                pl.BlockSpec((1, whole, lanes), lambda b, t, j, i, *_: (b, 0, t)),
                of_keys,
                of_keys,
            ],
            scratch_shapes=[
                pltpu.VMEM((lanes, whole), jnp.float32),
                pltpu.VMEM((key_block, lanes), jnp.float32),
                pltpu.VMEM((key_block, lanes), jnp.float32),
                pltpu.VMEM((key_block, lanes), keys.dtype),
            ],
        ),
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (queries, keys, values)],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary", "arbitrary")
        ),
        cost_estimate=cost(options, queries, keys.shape[1], tiles=4, heads=1, moved=8),
        interpret=options.interpret,
        name="attention_backward",
    )
    of_rows = (segments, key_marks, mixed, logarithms, cotangent)
    arrays = (queries, keys, values, *of_rows, *(turns or ()))
    of_queries, of_keys, of_values = kernel(scalars, first, last, *arrays)
    return of_queries, of_keys, of_values


def _blocks_of(options: Options) -> tuple[list[pl.BlockSpec], pl.BlockSpec]:
    """Which blocks of the inputs a step of the grid (row, tile, block of keys, step) has; those of keys."""
    (block, key_block), lanes = options.blocks, options.lanes

    def query_at(b: Any, t: Any, j: Any, i: Any, _: Any, first: Any, last: Any) -> Any:
        return b, visited(first, last, b, j, i), t

    def segment_at(b: Any, t: Any, j: Any, i: Any, _: Any, first: Any, last: Any) -> Any:
        return b, 0, visited(first, last, b, j, i)

    def per_head_at(b: Any, t: Any, j: Any, i: Any, _: Any, first: Any, last: Any) -> Any:
        return b, t, 0, visited(first, last, b, j, i)

    of_queries = pl.BlockSpec((1, block, lanes), query_at)
    of_keys = pl.BlockSpec((1, key_block, lanes), lambda b, t, j, i, *_: (b, j, t))
    segments = pl.BlockSpec((1, 1, block), segment_at)
    marks = pl.BlockSpec((1, 1, key_block), lambda b, t, j, i, *_: (b, 0, j))
    per_head = pl.BlockSpec((1, 1, options.heads_per_tile, block), per_head_at)
    read = [of_queries, of_keys, of_keys, segments, marks, of_queries, per_head, of_queries]
    return read, of_keys


def _backward_block(
    options: Options,
    first_query: int,
    scalars: Any,
    first: Any,
    last: Any,
    queries: Any,
    keys: Any,
    values: Any,
    segments: Any,
    *others: Any,
) -> None:
    """Visits one block of queries for one block of keys of one tile."""
    key_marks, mixed, logarithms, cotangent, *angles = others[:-7]
    of_queries, of_keys, of_values, queries_sum, keys_sum, values_sum, turned_keys = others[-7:]
    row, tile, j, i = (pl.program_id(axis) for axis in range(4))
    number, (block, key_block) = first[row, j] + i, options.blocks

    @pl.when((i == 0) & (j == 0))
    def _begin_tile() -> None:
        queries_sum[...] = jnp.zeros(queries_sum.shape, jnp.float32)

    @pl.when(i == 0)
    def _begin_keys() -> None:
        keys_sum[...] = jnp.zeros(keys_sum.shape, jnp.float32)
        values_sum[...] = jnp.zeros(values_sum.shape, jnp.float32)
        turned_keys[...] = turn(options, within_row(options, keys[0], j * key_block, 1), angles, 1)

    @pl.when(number <= last[row, j])
    def _visit() -> None:
        at = first_query + number * block, j * key_block
        seen = visible_in_block(options, scalars, segments[0], key_marks[0], *at)
        asked, result, slope = (
            within_row(options, x[0], at[0], 0) for x in (queries, mixed, cotangent)
        )
        key, asked = turned_keys[...], turn(options, asked, angles, 0, number)
        transposed, value = key.T, within_row(options, values[0], at[1], 1)
        columns = pl.ds(pl.multiple_of(number * block, block), block)
        along = (slope.astype(jnp.float32) * result.astype(jnp.float32)).T
        for head in range(options.heads_per_tile):
            part = part_of_tile(options, head)
            query, given = (head_of_lane(options, x, head) for x in (asked, slope))
            scores = jnp.where(seen, product(key, query, (1, 1)), FLOOR)
            weights = jnp.exp(scores - logarithms[0, 0, pl.ds(head, 1)])
            number_of_head = tile * options.heads_per_tile + head
            dropped = dropped_in_block(options, scalars, row, number_of_head, *at)
            # The factor of dropout comes last, in `_end_keys` and `_end_tile`.
            delta = along[part].sum(axis=0, keepdims=True) / options.keep_scale
            slopes = product(value, given, (1, 1))
            kept, of_scores = _slopes_of_scores(weights, slopes, delta, dropped, query.dtype)
            values_sum[...] += product(kept, given)
            keys_sum[...] += product(of_scores, query)
            queries_sum[part, columns] += product(transposed[part], of_scores)

    @pl.when(i == pl.num_programs(3) - 1)
    def _end_keys() -> None:
        found = turn(options, keys_sum[...] * options.keep_scale, angles, 1, back=True)
        of_keys[0] = found.astype(of_keys.dtype)
        of_values[0] = (values_sum[...] * options.keep_scale).astype(of_values.dtype)

    @pl.when((i == pl.num_programs(3) - 1) & (j == pl.num_programs(2) - 1))
    def _end_tile() -> None:
        _write_queries(options, queries_sum, angles, of_queries)


def _write_queries(options: Options, summed: Any, angles: list[Any], of_queries: Any) -> None:
    """Writes the gradient of the queries of a tile, block by block.

    Args:
      options: What is known while tracing.
      summed: The gradient of the turned queries, transposed, without dropout's factor, `[lanes, length]`.
      angles: Rotary angles; empty where queries are not turned.
      of_queries: Where the gradient is written, `[1, whole blocks, lanes]`.
    """
    block = options.blocks[0]
    for number in range(summed.shape[1] // block):
        rows = slice(number * block, (number + 1) * block)
        found = summed[:, rows].T * options.keep_scale
        found = turn(options, found, angles, 0, number, back=True)
        of_queries[0, rows] = found.astype(of_queries.dtype)


def _slopes_of_scores(
    weights: Array, slopes: Array, delta: Array, dropped: Array | None, dtype: Any
) -> tuple[Array, Array]:
    """Computes the weights that dropout keeps, and the gradient of the scores, without dropout's factor.

    Args:
      weights: Weights before dropout, `[keys, queries]`.
      slopes: Gradient of the weights after dropout, of the same shape.
      delta: Sum of weights times gradient for every query, `[1, queries]`.
      dropped: Weights that dropout sets to zero, or `None`.
      dtype: Type of both results, that of the products.
    """
    kept = weights
    if dropped is not None:
        kept, slopes = jnp.where(dropped, 0, weights), jnp.where(dropped, 0, slopes)
    return kept.astype(dtype), (weights * (slopes - delta)).astype(dtype)
