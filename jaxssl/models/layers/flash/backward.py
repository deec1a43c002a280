"""The backward kernel: weights are computed again, block by block (Dao et al. 2022, algorithm 4).

One kernel computes the gradients of queries, keys and values. Those of keys and values are added up while the
blocks of queries pass; that of the queries stays on the chip, for as many queries as `QUERIES`, until all
blocks of keys have passed. Longer rows are cut into pieces of as many queries.
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
    Options,
    cost,
    dropped_in_block,
    head_of_lane,
    part_of_tile,
    product,
    spans,
    visible_in_block,
    visited,
)


def backward(
    options: Options,
    queries: Array,
    keys: Array,
    values: Array,
    segments: Array,
    key_marks: Array,
    scalars: Array,
    touches: Array,
    mixed: Array,
    logarithms: Array,
    cotangent: Array,
    first_query: int = 0,
) -> tuple[Array, Array, Array]:
    """Computes the gradients of queries, keys and values.

    Args:
      options: What is known while tracing.
      queries: Queries, already scaled, `[batch, length, width]`.
      keys: Keys, `[batch, key_length, width]`.
      values: Values, of the shape of the keys.
      segments: Document number of every query, -1 for padding, `[batch, 1, length]`.
      key_marks: Twice the document number of every key, and 1 more in a prefix, `[batch, 1, key_length]`.
      scalars: The numbers that all blocks read, `[5]`.
      touches: Pairs of blocks that are visited, `[batch, query_blocks, key_blocks]`.
      mixed: What `forward` returned, `[batch, length, width]`.
      logarithms: What `forward` returned, `[batch, tiles, heads_per_tile, length]`.
      cotangent: Gradient of the mixed values, `[batch, length, width]`.
      first_query: Position of the first of these queries in its row.

    Returns:
      Gradients of queries, keys and values, in their shapes and types.
    """
    (batch, length, width), lanes = queries.shape, options.lanes
    key_block, tiles = options.blocks[1], width // lanes
    first, last, longest = spans(touches.transpose(0, 2, 1))
    inputs, of_keys = _blocks_of(options)
    kernel = pl.pallas_call(
        partial(_backward_block, options, first_query),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=3,
            grid=(batch, tiles, keys.shape[1] // key_block, longest),
            in_specs=inputs,
            out_specs=[
                pl.BlockSpec((1, length, lanes), lambda b, t, j, i, *_: (b, 0, t)),
                of_keys,
                of_keys,
            ],
            scratch_shapes=[
                pltpu.VMEM((lanes, length), jnp.float32),
                pltpu.VMEM((key_block, lanes), jnp.float32),
                pltpu.VMEM((key_block, lanes), jnp.float32),
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
    gradients: tuple[Array, Array, Array] = kernel(
        scalars, first, last, queries, keys, values, *of_rows
    )
    return gradients


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
    inputs = [of_queries, of_keys, of_keys, segments, marks, of_queries, per_head, of_queries]
    return inputs, of_keys


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
    key_marks: Any,
    mixed: Any,
    logarithms: Any,
    cotangent: Any,
    of_queries: Any,
    of_keys: Any,
    of_values: Any,
    queries_sum: Any,
    keys_sum: Any,
    values_sum: Any,
) -> None:
    """Visits one block of queries for one block of keys of one tile."""
    row, tile, j, i = (pl.program_id(axis) for axis in range(4))
    number, (block, key_block) = first[row, j] + i, options.blocks

    @pl.when((i == 0) & (j == 0))
    def _begin_tile() -> None:
        queries_sum[...] = jnp.zeros(queries_sum.shape, jnp.float32)

    @pl.when(i == 0)
    def _begin_keys() -> None:
        keys_sum[...] = jnp.zeros(keys_sum.shape, jnp.float32)
        values_sum[...] = jnp.zeros(values_sum.shape, jnp.float32)

    @pl.when(number <= last[row, j])
    def _visit() -> None:
        at = first_query + number * block, j * key_block
        seen = visible_in_block(options, scalars, segments[0], key_marks[0], *at)
        transposed = keys[0].T
        along = (cotangent[0].astype(jnp.float32) * mixed[0].astype(jnp.float32)).T
        for head in range(options.heads_per_tile):
            part = part_of_tile(options, head)
            # The factor of dropout comes last, in `_end_keys` and `_end_tile`.
            delta = along[part].sum(axis=0, keepdims=True) / options.keep_scale
            query = head_of_lane(options, queries[0], head)
            given = head_of_lane(options, cotangent[0], head)
            scores = jnp.where(seen, product(keys[0], query, (1, 1)), FLOOR)
            weights = jnp.exp(scores - logarithms[0, 0, pl.ds(head, 1)])
            slope = product(values[0], given, (1, 1))
            kept = weights
            if options.rate:
                number_of_head = tile * options.heads_per_tile + head
                dropped = dropped_in_block(options, scalars, row, number_of_head, *at)
                kept, slope = jnp.where(dropped, 0, weights), jnp.where(dropped, 0, slope)
            values_sum[...] += product(kept.astype(given.dtype), given)
            of_scores = (weights * (slope - delta)).astype(query.dtype)
            keys_sum[...] += product(of_scores, query)
            columns = pl.ds(pl.multiple_of(number * block, block), block)
            queries_sum[part, columns] += product(transposed[part], of_scores)

    @pl.when(i == pl.num_programs(3) - 1)
    def _end_keys() -> None:
        of_keys[0] = (keys_sum[...] * options.keep_scale).astype(of_keys.dtype)
        of_values[0] = (values_sum[...] * options.keep_scale).astype(of_values.dtype)

    @pl.when((i == pl.num_programs(3) - 1) & (j == pl.num_programs(2) - 1))
    def _end_tile() -> None:
        for start in range(0, queries_sum.shape[1], block):
            part = queries_sum[:, start : start + block] * options.keep_scale
            of_queries[0, start : start + block] = part.T.astype(of_queries.dtype)
