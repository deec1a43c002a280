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


def forward(options: Options, inputs: Inputs) -> tuple[Array, Array]:
    """Computes the mixed values, and for every query and head the logarithm of the sum of its weights.

    Args:
      options: What is known while tracing.
      inputs: What the kernels read.

    Returns:
      The mixed values, `[batch, length, width]`, and the logarithms, float32
      `[batch, tiles, heads_per_tile, whole blocks]`.
    """
    queries, keys, values, segments, key_marks, scalars, touches, turns = inputs
    (batch, length, width), lanes = queries.shape, options.lanes
    block, tiles = options.blocks[0], width // lanes
    count = -(-length // block)
    first, last, longest = spans(touches)
    read, written = _blocks_of(options)
    per_head = (options.heads_per_tile, block)
    kernel = pl.pallas_call(
        partial(_forward_block, options),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=3,
            grid=(batch, tiles, count, longest),
            in_specs=read,
            out_specs=written,
            scratch_shapes=[
                pltpu.VMEM(per_head, jnp.float32),
                pltpu.VMEM(per_head, jnp.float32),
                pltpu.VMEM((lanes, block), jnp.float32),
                pltpu.VMEM((block, lanes), queries.dtype),
            ],
        ),
        out_shape=[
            jax.ShapeDtypeStruct(queries.shape, values.dtype),
            jax.ShapeDtypeStruct(
                (batch, tiles, options.heads_per_tile, count * block), jnp.float32
            ),
        ],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "parallel", "arbitrary")
        ),
        cost_estimate=cost(options, queries, keys.shape[1], tiles=1, heads=1, moved=4),
        interpret=options.interpret,
        name="attention_forward",
    )
    arrays = (queries, keys, values, segments, key_marks, *(turns or ()))
    mixed, logarithms = kernel(scalars, first, last, *arrays)
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
    read = [of_queries, of_keys, of_keys, segments, marks]
    if options.turned:
        read += [
            pl.BlockSpec((2, block, lanes), lambda *_: (0, 0, 0)),
            pl.BlockSpec((1, 2, lanes), lambda b, t, i, j, *_: (i, 0, 0)),
            pl.BlockSpec(
                (1, 2, lanes),
                lambda b, t, i, j, _, first, last: (visited(first, last, b, i, j), 0, 0),
            ),
        ]
    return read, [of_queries, per_head]


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
    *others: Any,
) -> None:
    """Visits one block of keys for one block of queries of one tile; the state is transposed."""
    *angles, mixed, logarithms, largest, sums, mixing, asked = others
    row, tile, i, j = (pl.program_id(axis) for axis in range(4))
    number = first[row, i] + j

    @pl.when(j == 0)
    def _begin() -> None:
        largest[...] = jnp.full(largest.shape, FLOOR, jnp.float32)
        sums[...] = jnp.zeros(sums.shape, jnp.float32)
        mixing[...] = jnp.zeros(mixing.shape, jnp.float32)
        asked[...] = turn(
            options, within_row(options, queries[0], i * options.blocks[0], 0), angles, 0
        )

    @pl.when(number <= last[row, i])
    def _visit() -> None:
        at = i * options.blocks[0], number * options.blocks[1]
        seen = visible_in_block(options, scalars, segments[0], key_marks[0], *at)
        key, value = (within_row(options, x[0], at[1], 1) for x in (keys, values))
        transposed, key = value.T, turn(options, key, angles, 1)
        for head in range(options.heads_per_tile):
            scores = product(key, head_of_lane(options, asked[...], head), (1, 1))
            number_of_head = tile * options.heads_per_tile + head
            dropped = dropped_in_block(options, scalars, row, number_of_head, *at)
            part = part_of_tile(options, head)
            state = (largest, sums, mixing)
            _mix(state, head, part, jnp.where(seen, scores, FLOOR), dropped, transposed[part])

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


def _mix(
    state: tuple[Any, Any, Any],
    head: int,
    part: slice,
    scores: Array,
    dropped: Array | None,
    values: Array,
) -> None:
    """Takes one more block of keys into the running softmax of a head.

    Args:
      state: Largest scores and sums of weights of all heads, and the values that are mixed, transposed.
      head: Number of the head in its tile.
      part: Rows of the mixed values that are of this head.
      scores: Scores of the block, `[keys, queries]`.
      dropped: Weights that dropout sets to zero, or `None`.
      values: Values of the block, `[head_dim, keys]`.
    """
    largest, sums, mixing = state
    own = pl.ds(head, 1)
    before = largest[own]
    now = jnp.maximum(before, scores.max(axis=0, keepdims=True))
    largest[own] = now
    # Above the floor, so that the weights of a query that has seen nothing are 0
    now = jnp.maximum(now, FLOOR / 2)
    weights, shrink = jnp.exp(scores - now), jnp.exp(before - now)
    sums[own] = shrink * sums[own] + weights.sum(axis=0, keepdims=True)
    if dropped is not None:
        weights = jnp.where(dropped, 0, weights)
    mixing[part] = shrink * mixing[part] + product(values, weights.astype(values.dtype))
