"""The forward kernel: blocks of keys are visited with a running softmax (Dao et al. 2022, algorithm 1)."""

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


def forward(
    options: Options,
    queries: Array,
    keys: Array,
    values: Array,
    segments: Array,
    key_marks: Array,
    scalars: Array,
    touches: Array,
) -> tuple[Array, Array]:
    """Computes the mixed values, and for every query and head the logarithm of the sum of its weights.

    Args:
      options: What is known while tracing.
      queries: Queries, already scaled, `[batch, length, width]`; heads are side by side, in whole tiles.
      keys: Keys, `[batch, key_length, width]`.
      values: Values, of the shape of the keys.
      segments: Document number of every query, -1 for padding, `[batch, 1, length]`.
      key_marks: Twice the document number of every key, and 1 more in a prefix, `[batch, 1, key_length]`.
      scalars: The numbers that all blocks read, `[5]`.
      touches: Pairs of blocks that are visited, `[batch, query_blocks, key_blocks]`.

    Returns:
      The mixed values, `[batch, length, width]`, and the logarithms, float32
      `[batch, tiles, heads_per_tile, length]`.
    """
    (batch, length, width), lanes = queries.shape, options.lanes
    block, tiles = options.blocks[0], width // lanes
    first, last, longest = spans(touches)
    inputs, outputs = _blocks_of(options)
    per_head = (options.heads_per_tile, block)
    kernel = pl.pallas_call(
        partial(_forward_block, options),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=3,
            grid=(batch, tiles, length // block, longest),
            in_specs=inputs,
            out_specs=outputs,
            scratch_shapes=[
                pltpu.VMEM(per_head, jnp.float32),
                pltpu.VMEM(per_head, jnp.float32),
                pltpu.VMEM((lanes, block), jnp.float32),
            ],
        ),
        out_shape=[
            jax.ShapeDtypeStruct(queries.shape, values.dtype),
            jax.ShapeDtypeStruct((batch, tiles, options.heads_per_tile, length), jnp.float32),
        ],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "parallel", "arbitrary")
        ),
        cost_estimate=cost(options, queries, keys.shape[1], tiles=1, heads=1, moved=4),
        interpret=options.interpret,
        name="attention_forward",
    )
    mixed, logarithms = kernel(scalars, first, last, queries, keys, values, segments, key_marks)
    return mixed, logarithms


def _blocks_of(options: Options) -> tuple[list[pl.BlockSpec], list[pl.BlockSpec]]:
    """Which blocks of inputs and outputs a step of the grid (row, tile, block of queries, step) has."""
    (block, key_block), lanes = options.blocks, options.lanes

    def key_at(b: Any, t: Any, i: Any, j: Any, _: Any, first: Any, last: Any) -> Any:
        return b, visited(first, last, b, i, j), t

    def mark_at(b: Any, t: Any, i: Any, j: Any, _: Any, first: Any, last: Any) -> Any:
        return b, 0, visited(first, last, b, i, j)

    of_queries = pl.BlockSpec((1, block, lanes), lambda b, t, i, j, *_: (b, i, t))
    of_keys = pl.BlockSpec((1, key_block, lanes), key_at)
    segments = pl.BlockSpec((1, 1, block), lambda b, t, i, j, *_: (b, 0, i))
    per_head = pl.BlockSpec(
        (1, 1, options.heads_per_tile, block), lambda b, t, i, j, *_: (b, t, 0, i)
    )
    marks = pl.BlockSpec((1, 1, key_block), mark_at)
    return [of_queries, of_keys, of_keys, segments, marks], [of_queries, per_head]


def _forward_block(
    options: Options,
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
    largest: Any,
    sums: Any,
    mixing: Any,
) -> None:
    """Visits one block of keys for one block of queries of one tile; the state is transposed."""
    row, tile, i, j = (pl.program_id(axis) for axis in range(4))
    number = first[row, i] + j

    @pl.when(j == 0)
    def _begin() -> None:
        largest[...] = jnp.full(largest.shape, FLOOR, jnp.float32)
        sums[...] = jnp.zeros(sums.shape, jnp.float32)
        mixing[...] = jnp.zeros(mixing.shape, jnp.float32)

    @pl.when(number <= last[row, i])
    def _visit() -> None:
        at = i * options.blocks[0], number * options.blocks[1]
        seen = visible_in_block(options, scalars, segments[0], key_marks[0], *at)
        transposed = values[0].T
        for head in range(options.heads_per_tile):
            part = part_of_tile(options, head)
            scores = product(keys[0], head_of_lane(options, queries[0], head), (1, 1))
            scores = jnp.where(seen, scores, FLOOR)
            before = largest[pl.ds(head, 1)]
            now = jnp.maximum(before, scores.max(axis=0, keepdims=True))
            # Above the floor, so that the weights of a query that has seen nothing are 0.
            largest[pl.ds(head, 1)] = now
            now = jnp.maximum(now, FLOOR / 2)
            weights = jnp.exp(scores - now)
            shrink = jnp.exp(before - now)
            sums[pl.ds(head, 1)] = shrink * sums[pl.ds(head, 1)] + weights.sum(
                axis=0, keepdims=True
            )
            if options.rate:
                number_of_head = tile * options.heads_per_tile + head
                dropped = dropped_in_block(options, scalars, row, number_of_head, *at)
                weights = jnp.where(dropped, 0, weights)
            added = product(transposed[part], weights.astype(values.dtype))
            mixing[part] = shrink * mixing[part] + added

    @pl.when(j == pl.num_programs(3) - 1)
    def _end() -> None:
        total = sums[...]
        logarithms[0, 0] = jnp.maximum(largest[...], FLOOR / 2) + jnp.where(
            total > 0, jnp.log(total), 0
        )
        scale = jnp.where(total > 0, options.keep_scale / total, 0)
        for head in range(options.heads_per_tile):
            part = part_of_tile(options, head)
            mixing[part] = mixing[part] * scale[head : head + 1]
        mixed[0] = mixing[...].T.astype(mixed.dtype)
