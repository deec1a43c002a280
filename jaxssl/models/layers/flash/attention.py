"""Attention by the Pallas kernel: heads are padded to whole tiles."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxssl.models.layers.flash.blocks import Options, Turns
from jaxssl.models.layers.flash.gradient import attend
from jaxssl.models.layers.fused_attention import First, Keys, Queries, Rows, Shared

LARGEST_BLOCK = 512  # positions that the kernel takes at a time


def flash_attention(
    queries: Queries,
    keys: Keys,
    values: Keys,
    rows: Rows,
    shared: Shared,
    first: First,
    *,
    causal: bool,
    dropout_rate: float,
    bases: tuple[float, ...] = (),
    largest_block: int = LARGEST_BLOCK,
    interpret: bool = False,
) -> Queries:
    """Computes attention by the Pallas kernel for TPUs; heads are padded to whole tiles.

    Args:
      queries: Queries, `[batch, length, heads, head_dim]`.
      keys: Keys, `[batch, key_length, kv_heads, head_dim]`.
      values: Values, of the shape of the keys.
      rows: What is read of every row.
      shared: What is the same on all devices.
      first: Where the arrays begin in the whole ones; dropout depends on it.
      causal: Whether a position sees no later ones.
      dropout_rate: Dropout rate of the attention weights, where there is a key.
      bases: Bases of rotary positions, the global one and, where layers differ, a local one. The kernel then
        turns queries and keys by their position in the row: within a document it makes no difference where
        the document begins.
      largest_block: Positions that the kernel takes at a time, at most.
      interpret: Interpret the kernel, which runs it on any platform, slowly.

    Returns:
      The mixed values, `[batch, length, heads, head_dim]`.
    """
    (length, heads, head_dim), key_length = queries.shape[1:], keys.shape[1]
    blocks = block_of(length, largest_block), block_of(key_length, largest_block)
    options = Options(
        heads=first.heads,
        head_dim=_width_in_tiles(head_dim),
        lengths=(length, key_length),
        blocks=blocks,
        causal=causal,
        prefixed=causal and rows.prefix is not None,
        windowed=shared.window is not None,
        rate=0.0 if shared.words is None else dropout_rate,
        turned=head_dim if bases else 0,
        interpret=interpret,
    )
    # Every query head gets keys of its own: with 64 numbers a head two of them share a tile.
    keys, values = (jnp.repeat(x, heads // x.shape[2], axis=2) for x in (keys, values))

    def as_tiles(x: Array) -> Array:
        missing = -heads % options.heads_per_tile, options.head_dim - head_dim
        whole = jnp.pad(x, [(0, 0), (0, 0), *((0, count) for count in missing)])
        return whole.reshape(*whole.shape[:2], -1)

    mixed = attend(
        options,
        as_tiles(queries) * head_dim**-0.5,
        as_tiles(keys),
        as_tiles(values),
        _in_blocks(rows.segments, blocks[0]),
        _in_blocks(rows.key_segments, blocks[1]),
        None if rows.prefix is None or not causal else _in_blocks(rows.prefix, blocks[1]),
        _scalars(shared, first),
        _turns(options, bases, shared) if bases else None,
    )
    mixed = mixed.reshape(-1, length, mixed.shape[2] // options.head_dim, options.head_dim)
    return mixed[:, :, :heads, :head_dim]


def _in_blocks(ids: Array, block: int) -> Array:
    return jnp.pad(ids, [(0, 0), (0, -ids.shape[1] % block)])


def _scalars(shared: Shared, first: First) -> Int[Array, "5"]:
    """The numbers that all blocks read, in the order of `blocks.SCALARS`."""
    window = jnp.int32(0) if shared.window is None else shared.window
    words = jnp.zeros(2, jnp.uint32) if shared.words is None else shared.words
    places = [jnp.asarray(place, jnp.int32) for place in (window, first.row, first.head)]
    return jnp.concatenate([jnp.stack(places), jax.lax.bitcast_convert_type(words, jnp.int32)])


def _turns(options: Options, bases: tuple[float, ...], shared: Shared) -> Turns:
    """Rotary angles of the positions in a row, of the base that the layer takes."""
    all_turns = [_turns_of(options, base) for base in bases]
    if shared.is_local is None:
        return Turns(*(jnp.asarray(table) for table in all_turns[0]))
    pairs = zip(*all_turns, strict=True)
    return Turns(*(jnp.where(shared.is_local, local, everywhere) for everywhere, local in pairs))


def _turns_of(options: Options, base: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tables of `Turns` for one base, in float64 until the end: angles of long rows are large.

    Queries and keys are of the same positions, and of the same blocks.
    """
    (length, _), (block, _) = options.lengths, options.blocks
    half = options.turned // 2
    frequencies = np.float32(base) ** (-np.arange(half, dtype=np.float32) / np.float32(half))

    def at(positions: np.ndarray) -> np.ndarray:
        """Cosine and signed sine of every lane, `[2, positions, lanes]`."""
        angles = positions[:, None] * frequencies.astype(np.float64)
        rest = np.zeros((len(positions), options.head_dim - options.turned))
        cosine = [np.cos(angles), np.cos(angles), rest + 1]
        sine = [-np.sin(angles), np.sin(angles), rest]
        both = np.stack([np.concatenate(parts, axis=1) for parts in (cosine, sine)])
        return np.tile(both, (1, 1, options.heads_per_tile)).astype(np.float32)

    starts = at(block * np.arange(-(-length // block))).transpose(1, 0, 2)
    return at(np.arange(block)), starts, starts


def block_of(length: int, largest: int) -> int:
    """Chooses the block size of a row of `length` positions.

    Returns:
      A multiple of 128 that makes as few blocks as those of `largest` do, and as little padding as possible.
    """
    count = -(-length // largest)
    return -(-length // (count * 128)) * 128


def _width_in_tiles(head_dim: int) -> int:
    """The width to which heads are padded: a share of 128 lanes, at least 32, or a multiple of 128."""
    if head_dim > 128:
        return -(-head_dim // 128) * 128
    return max(32, 2 ** math.ceil(math.log2(head_dim)))
