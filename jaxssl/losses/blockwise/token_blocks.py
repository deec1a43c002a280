"""Tokens split into blocks for `lax.scan`, sorted so that blocks without any weight can be skipped.

    tokens `[n, ...]`  ->  groups `[g, m, ...]`, each sorted by itself  ->  blocks `[k, g * c, ...]`

Tokens of weight 0 are moved behind the others, so that they fill whole blocks, which cost nothing.
Sorting all tokens together would move them between devices where they are sharded under plain
`jit`. So they are sorted within groups of at least 256 tokens, and a block takes c tokens of every
group: sorting needs no communication, and every device has part of every block. The number of
groups is the largest power of two that the number of tokens allows.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

SMALLEST_GROUP = 256  # tokens that are sorted together
LARGEST_BLOCK = 1 << 28  # logits of a block: 1 GB in float32
HALF_BLOCK = 1 << 26  # logits of a block of states in half precision


class Blocks(NamedTuple):
    """Tokens of a vocabulary head in blocks; inside a scan, one block without the first axis."""

    hidden: Float[Array, "*blocks block dim"]
    """Hidden states, zeros where the weight is 0."""
    targets: Int[Array, "*blocks block"]
    """Id of the right token, 0 where the weight is 0."""
    weights: Float[Array, "*blocks block"]
    """Non-negative weight of every token; 0 for the padding of the last block."""
    words: UInt32[Array, "*blocks block 2"] | None = None
    """The two words of a threefry key for every token, if tokens are drawn."""


def default_block(dim: int, vocab: int, kind: Any = jnp.float32) -> int:
    """Chooses for how many tokens logits are held at a time: a power of two, at least 256.

    A block costs one pass over the gradient of the kernel (vocab x dim) and several over its own
    logits (vocab x block), so the logits are made no larger than that gradient. Compared with all
    logits at once, on two cores in float32, loss and gradient took 0.83 of the time for 2048
    tokens, dim 256 and vocab 50257 (blocks of 256), and 0.90 for 4096 tokens, dim 768 (blocks of
    512; temporary memory 275 MB instead of 1647).

    In half precision, which accelerators compute in, matrix products are so fast that the pass over
    that gradient is what a block costs: blocks are as large as `HALF_BLOCK` logits allow. For 8,184
    tokens, dim 768 and vocab 50304 on TPU v5e, loss and gradient take 29 M cycles with blocks of 1024
    and 45 M with blocks of 256, by the compiler's estimate.

    Args:
      dim: Width of a hidden state.
      vocab: Number of rows of the kernel.
      kind: Type of the hidden states.

    Returns:
      Number of tokens; below 256 only where the logits of 256 tokens would exceed 2^28 numbers.
    """
    is_half = jnp.dtype(kind).itemsize < 4
    tokens = 1 << (max(256, HALF_BLOCK // vocab if is_half else dim).bit_length() - 1)
    return max(128, min(tokens, LARGEST_BLOCK // vocab))


def split_into_blocks(
    block: int, hidden: Array, targets: Array, weights: Array, words: Array | None = None
) -> tuple[Blocks, Int[Array, "groups group"] | None]:
    """Splits tokens into blocks, sorted within groups so that tokens of weight 0 come last.

    Args:
      block: Number of tokens of a block. The blocks made may be slightly larger: a multiple of the
        groups.
      hidden: Hidden states, `[tokens, dim]`.
      targets: Ids of the right tokens, `[tokens]`.
      weights: Non-negative weights, `[tokens]`.
      words: Words of a key for every token, `[tokens, 2]`, or None.

    Returns:
      The blocks, with zeros in place of whatever has weight 0, and the order within each group,
      `[groups, tokens of a group]`. The order is None if all tokens fit into one block and stay as
      they are.
    """
    tokens = hidden.shape[0]
    used = weights > 0
    arrays = Blocks(
        jnp.where(used[:, None], hidden, 0),
        jnp.where(used, targets, 0),
        jnp.where(used, weights, 0),
        words,
    )
    if block >= tokens:
        return jax.tree.map(lambda array: array[None], arrays), None
    groups = _groups(tokens)
    size = tokens // groups
    count = -(-tokens // block)
    width = -(-size // count)  # tokens of each group in a block
    count = -(-size // width)  # fewer where whole blocks would be padding
    order = jnp.argsort(~used.reshape(groups, size), axis=1, stable=True)

    def split(array: Array) -> Array:
        """Sorts, pads and splits one array."""
        grouped = array.reshape(groups, size, *array.shape[1:])
        index = order.reshape(order.shape + (1,) * (grouped.ndim - 2))
        ordered = jnp.take_along_axis(grouped, index, axis=1)
        tail = [(0, 0)] * (grouped.ndim - 2)
        padded = jnp.pad(ordered, [(0, 0), (0, width * count - size), *tail])
        parts = padded.reshape(groups, count, width, *array.shape[1:])
        return jnp.moveaxis(parts, 1, 0).reshape(count, groups * width, *array.shape[1:])

    return jax.tree.map(split, arrays), order


def join_blocks(rows: Any, order: Int[Array, "groups group"] | None, tokens: int) -> Any:
    """Restores the order of the tokens: the inverse of `split_into_blocks`.

    Args:
      rows: Pytree of arrays `[blocks, block, ...]`.
      order: Order within each group, as `split_into_blocks` returned it.
      tokens: Number of tokens.

    Returns:
      Pytree of arrays `[tokens, ...]`.
    """
    if order is None:
        return jax.tree.map(lambda array: array[0], rows)
    groups, size = order.shape
    inverse = jnp.argsort(order, axis=1)

    def join(array: Array) -> Array:
        count, block = array.shape[:2]
        parts = array.reshape(count, groups, block // groups, *array.shape[2:])
        padded = jnp.moveaxis(parts, 0, 1).reshape(groups, -1, *array.shape[2:])
        index = inverse.reshape(inverse.shape + (1,) * (padded.ndim - 2))
        return jnp.take_along_axis(padded, index, axis=1).reshape(tokens, *array.shape[2:])

    return jax.tree.map(join, rows)


def _groups(tokens: int) -> int:
    """The number of groups into which tokens are split for sorting."""
    groups = 1
    while tokens % (2 * groups) == 0 and tokens // (2 * groups) >= SMALLEST_GROUP:
        groups *= 2
    return groups
