"""What one block of scores is made of: which keys are visible, which weights are dropped, which blocks count.

A block is transposed, `[keys, queries]`: the sums of the softmax run over its rows, and one number per query
is a row of lanes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Bool, Float, Int

LANES = 128  # numbers in a row of a vector register
FLOOR = -1e30  # score of a pair that is not visible
SCALARS = 5  # numbers that all blocks read, in this order:
WINDOW, ROW, HEAD, FIRST_WORD, SECOND_WORD = range(SCALARS)
GOLDEN = 0x9E3779B9 - 2**32  # as in `jaxssl/models/layers/dropout.py`, as a signed number
MIX = (0x7FEB352D, 0x846CA68B - 2**32)


class Turns(NamedTuple):
    """Rotary angles: position i of a row turns by the angle of i's block and then by that of i in the block.

    Cosines stand before sines. The sine has the sign with which a lane takes its partner.
    """

    within: Float[Array, "2 positions lanes"]
    """Angles of the positions of a block, `[2, positions, lanes]`."""
    of_queries: Float[Array, "blocks 2 lanes"]
    """Angles of the first position of every block of queries, `[blocks, 2, lanes]`."""
    of_keys: Float[Array, "blocks 2 lanes"]
    """Angles of the first position of every block of keys, `[blocks, 2, lanes]`."""


class Inputs(NamedTuple):
    """What both kernels read."""

    queries: Float[Array, "batch length width"]
    """Queries, already scaled, `[batch, length, width]`; heads are side by side, in whole tiles."""
    keys: Float[Array, "batch key_length width"]
    """Keys, `[batch, key_length, width]`."""
    values: Float[Array, "batch key_length width"]
    """Values, of the shape of the keys."""
    segments: Int[Array, "batch 1 length"]
    """Document number of every query, -1 for padding, `[batch, 1, length]`."""
    key_marks: Int[Array, "batch 1 key_length"]
    """Twice the document number of every key, and 1 more in a prefix, `[batch, 1, key_length]`."""
    scalars: Int[Array, "5"]
    """The numbers that all blocks read, `[5]`."""
    touches: Bool[Array, "batch query_blocks key_blocks"]
    """Pairs of blocks that are visited, `[batch, query_blocks, key_blocks]`."""
    turns: Turns | None
    """Rotary angles of queries and keys. None: they are not turned."""


@dataclass(frozen=True)
class Options:
    """What is known of an attention while it is traced."""

    heads: int
    """Number of query heads of the whole array, on all devices."""
    head_dim: int
    """Width of a head. It divides 128, or 128 divides it."""
    lengths: tuple[int, int]
    """Number of queries and of keys in a row; the last block may reach beyond them."""
    blocks: tuple[int, int]
    """Queries and keys of a block."""
    causal: bool
    """Whether a position sees no later ones."""
    prefixed: bool
    """Whether keys of a prefix are seen in spite of `causal`."""
    windowed: bool
    """Whether positions see only a window."""
    rate: float
    """Dropout rate of the weights; 0 for none."""
    turned: int
    """Numbers of a head that rotary angles turn, the first ones; 0 for none."""
    interpret: bool
    """Whether the kernels are interpreted, which runs them on any platform, slowly."""

    @property
    def lanes(self) -> int:
        """Returns the width of a tile: one head, or as many as fit into 128 lanes."""
        return max(LANES, self.head_dim)

    @property
    def heads_per_tile(self) -> int:
        """Returns the number of heads that share a tile."""
        return self.lanes // self.head_dim

    @property
    def keep_scale(self) -> float:
        """Returns the factor of the weights that dropout keeps."""
        return 1 / (1 - self.rate)


def column(row: Int[Array, "1 size"]) -> Int[Array, "size 1"]:
    """Turns a `row` of lanes, `[1, size]`, into a column, which Mosaic does for whole tiles only."""
    return jnp.broadcast_to(row, (LANES, row.shape[1])).T[:, :1]


def visible_in_block(
    options: Options,
    scalars: Array,
    segments: Int[Array, "1 queries"],
    key_marks: Int[Array, "1 keys"],
    first_query: Array,
    first_key: Array,
) -> Bool[Array, "keys queries"]:
    """Computes which pairs of a block are visible, as `visible` does for whole rows.

    Args:
      options: What is known while tracing.
      scalars: The numbers that all blocks read, in the memory of scalars.
      segments: Document number of every query, `[1, queries]`; -1 is padding.
      key_marks: Twice the document number of every key, and 1 more in a prefix, `[1, keys]`.
      first_query: Position of the block's first query.
      first_key: Position of the block's first key.

    Returns:
      True where the query of axis 1 sees the key of axis 0, bool `[keys, queries]`.
    """
    marks = column(key_marks)
    seen = (marks >> 1) == segments
    if not (options.causal or options.windowed):
        return seen
    shape = seen.shape
    # Key minus query: the difference of two counters, each of which varies along one axis.
    ahead = jax.lax.broadcasted_iota(jnp.int32, shape, 0) - (
        jax.lax.broadcasted_iota(jnp.int32, shape, 1) + (first_query - first_key)
    )
    if options.causal:
        behind = ahead <= 0
        seen &= behind | ((marks & 1) == 1) if options.prefixed else behind
    if options.windowed:
        seen &= jnp.abs(ahead) <= scalars[WINDOW]
    return seen


def dropped_in_block(
    options: Options,
    scalars: Array,
    row: Array,
    head: Array,
    first_query: Array,
    first_key: Array,
) -> Bool[Array, "keys queries"] | None:
    """Computes which weights of a block dropout sets to zero: those of `dropout` on the whole array.

    The array is `[batch, heads, length, key_length]`; the index of a weight in it is hashed with the key.

    Args:
      options: What is known while tracing.
      scalars: The numbers that all blocks read, in the memory of scalars.
      row: Number of the row on this device.
      head: Number of the head on this device.
      first_query: Position of the block's first query.
      first_key: Position of the block's first key.

    Returns:
      True where the weight of the query of axis 1 and the key of axis 0 is dropped, bool `[keys, queries]`;
      `None` without dropout.
    """
    if options.rate == 0:
        return None
    (length, key_length), (queries, keys) = options.lengths, options.blocks
    of_head = (row + scalars[ROW]) * options.heads + head + scalars[HEAD]
    query = first_query + jax.lax.broadcasted_iota(jnp.int32, (1, queries), 1)
    key = first_key + jax.lax.broadcasted_iota(jnp.int32, (keys, 1), 0)
    # The products with GOLDEN are made for rows and columns, so that an element takes one addition.
    along = (of_head * length + query) * key_length * GOLDEN + scalars[FIRST_WORD]
    bits = _hash(along + key * GOLDEN, scalars[SECOND_WORD])
    limit = min(round(options.rate * 2**32), 2**32 - 1)
    # As unsigned numbers: both sides are moved by 2**31.
    return (bits ^ -(2**31)) < limit - 2**31


def _hash(x: Array, amid: Array) -> Array:
    """`jaxssl.models.layers.dropout._mix` for signed numbers, which have the same bits."""
    x = (x ^ jax.lax.shift_right_logical(x, 16)) * MIX[0]
    x = x ^ amid
    x = (x ^ jax.lax.shift_right_logical(x, 15)) * MIX[1]
    return x ^ jax.lax.shift_right_logical(x, 16)


def touching(
    segments: Int[Array, "batch length"],
    key_segments: Int[Array, "batch key_length"],
    blocks: tuple[int, int],
    *,
    causal: bool,
    window: Array | int | None,
) -> Bool[Array, "batch query_blocks key_blocks"]:
    """Finds the pairs of blocks in which some query may see some key; the others are skipped.

    Documents of a block are known by their smallest and largest number. That is exact where numbers ascend
    along a row, as in packed rows, and skips too little elsewhere.

    Args:
      segments: Document number of every query, `[batch, length]`; 0 is padding. The length is whole blocks.
      key_segments: Document number of every key, `[batch, key_length]`.
      blocks: Queries and keys of a block.
      causal: Whether no position sees later ones, not even those of a prefix.
      window: Positions on either side that a position sees. `None`: all.

    Returns:
      True for the pairs to visit, bool `[batch, query_blocks, key_blocks]`.
    """
    (low, high), (key_low, key_high) = (
        _range_of_blocks(ids, block)
        for ids, block in zip((segments, key_segments), blocks, strict=True)
    )
    touches = (low[:, :, None] <= key_high[:, None]) & (key_low[:, None] <= high[:, :, None])
    queries, keys = blocks
    start = queries * jax.lax.broadcasted_iota(jnp.int32, touches.shape, 1)
    key_start = keys * jax.lax.broadcasted_iota(jnp.int32, touches.shape, 2)
    if causal:
        touches &= key_start < start + queries
    if window is not None:
        touches &= key_start - (start + queries - 1) <= window
        touches &= start - (key_start + keys - 1) <= window
    return touches


def _range_of_blocks(ids: Array, block: int) -> tuple[Array, Array]:
    """Smallest and largest document number of every block; (a large number, -1) where all is padding."""
    blocks = ids.reshape(ids.shape[0], -1, block)
    low = jnp.where(blocks == 0, jnp.iinfo(jnp.int32).max, blocks).min(axis=2)
    return low, jnp.where(blocks == 0, -1, blocks).max(axis=2)


def spans(touches: Bool[Array, "batch blocks others"]) -> tuple[Array, Array, Array | int]:
    """Computes the first and the last of the other blocks that every block touches, and the longest span.

    Args:
      touches: Pairs of blocks that are visited, bool `[batch, blocks, others]`.

    Returns:
      Numbers of the first and of the last, int32 `[batch, blocks]` each, 0 and -1 where a block touches
      none; and how many blocks the longest span has, at least 1.
    """
    others = touches.shape[2]
    first = jnp.argmax(touches, axis=2).astype(jnp.int32)
    last = others - 1 - jnp.argmax(touches[:, :, ::-1], axis=2).astype(jnp.int32)
    last = jnp.where(touches.any(axis=2), last, -1)
    longest = 1 if others == 1 else jnp.maximum(1, (last - first + 1).max())
    return first, last, longest


def cost(
    options: Options, queries: Array, key_length: int, *, tiles: int, heads: int, moved: int
) -> pl.CostEstimate:
    """Counts what a kernel computes if no document ends, for XLA's scheduler and for `jaxssl plan`.

    Args:
      options: What is known while tracing.
      queries: Queries, `[batch, length, width]`.
      key_length: Number of keys of a row.
      tiles: Matrix products of a pair of blocks and a head that are a tile wide.
      heads: Those that are a head wide.
      moved: Arrays of the queries' shape that are read or written.
    """
    (batch, length, width), (block, key_block) = queries.shape, options.blocks
    rows, columns = -(-length // block), -(-key_length // key_block)
    pairs = rows * columns
    if options.causal and not options.prefixed:
        pairs = sum(min(columns, -(-(row + 1) * block // key_block)) for row in range(rows))
    scores = pairs * block * key_block * batch * (width // options.head_dim)
    return pl.CostEstimate(
        flops=2 * scores * (tiles * options.lanes + heads * options.head_dim),
        transcendentals=scores,
        bytes_accessed=moved * queries.size * queries.dtype.itemsize,
    )


def visited(first: Any, last: Any, row: Any, block: Any, step: Any) -> Any:
    """Returns the number of the block that a step visits; behind the last it stays, so that nothing is read.

    Args:
      first: First of the blocks that every block touches, `[batch, blocks]`.
      last: Last of them.
      row: Number of the row.
      block: Number of the block.
      step: Number of the step.
    """
    return jnp.minimum(first[row, block] + step, jnp.maximum(last[row, block], 0))


def within_row(options: Options, tile: Any, first: Any, of_keys: int) -> Array:
    """Sets positions behind the end of the row to zero: the last block reads there what may be anything.

    Args:
      options: What is known while tracing.
      tile: A tile of a block, `[positions, lanes]`.
      first: Position of the block's first query or key.
      of_keys: 1 for a block of keys, 0 for one of queries.

    Returns:
      The tile, `[positions, lanes]`.
    """
    length = options.lengths[of_keys]
    if length % options.blocks[of_keys] == 0:
        return tile
    position = first + jax.lax.broadcasted_iota(jnp.int32, tile.shape, 0)
    return jnp.where(position < length, tile, 0)


def head_of_lane(options: Options, array: Array, head: int) -> Array:
    """Sets the lanes of a tile that belong to another head than `head` to zero.

    Args:
      options: What is known while tracing.
      array: A tile, `[rows, lanes]`.
      head: Number of the head in the tile.

    Returns:
      The tile, `[rows, lanes]`.
    """
    if options.heads_per_tile == 1:
        return array
    lane = jax.lax.broadcasted_iota(jnp.int32, array.shape, 1)
    low = head * options.head_dim
    return jnp.where((lane >= low) & (lane < low + options.head_dim), array, 0)


def part_of_tile(options: Options, head: int) -> slice:
    """Returns the lanes of a `head` in its tile; `options` say how wide it is."""
    return slice(head * options.head_dim, (head + 1) * options.head_dim)


def turn(
    options: Options,
    tile: Any,
    angles: Sequence[Any],
    of_keys: int,
    at: Any = 0,
    back: bool = False,
) -> Any:
    """Turns every head of a tile by the rotary angles of its positions, in float32.

    Args:
      options: What is known while tracing.
      tile: A tile of a block, `[positions, lanes]`.
      angles: The three tables of `Turns`, in their order. Empty where nothing is turned.
      of_keys: 1 for a block of keys, 0 for one of queries.
      at: Number of the block among those whose angles are at hand.
      back: Whether it is turned the other way, as the gradient is.

    Returns:
      The tile, `[positions, lanes]`, in its type.
    """
    if not angles:
        return tile
    within, start = angles[0], angles[1 + of_keys][at]
    half = options.turned // 2
    exact = tile.astype(jnp.float32)
    # A lane of the first half of a head has its partner on its right, and one of the second on its left.
    right = pltpu.roll(exact, options.lanes - half, 1)
    left = pltpu.roll(exact, half, 1)
    lane = jax.lax.broadcasted_iota(jnp.int32, exact.shape, 1) % options.head_dim
    partner = jnp.where(lane < half, right, left)
    first_cosine, first_sine = start[0:1], start[1:2]
    cosine = within[0] * first_cosine - within[1] * first_sine
    sine = within[1] * first_cosine + within[0] * first_sine
    return (exact * cosine + partner * (-sine if back else sine)).astype(tile.dtype)


def product(left: Array, right: Array, over: tuple[int, int] = (1, 0)) -> Array:
    """Computes a matrix product whose sums are in float32.

    Args:
      left: Left matrix, `[rows, inner]` by default.
      right: Right matrix, `[inner, columns]` by default.
      over: Axis of each matrix that is summed.

    Returns:
      The product, float32 `[rows, columns]`.
    """
    return jax.lax.dot_general(
        left,
        right,
        (((over[0],), (over[1],)), ((), ())),
        preferred_element_type=jnp.float32,
    )
