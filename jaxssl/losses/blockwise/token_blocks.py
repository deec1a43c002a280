"""Tokens in blocks for `lax.scan`; those of weight 0 come last, so that blocks of them are skipped.

    tokens [n] -> groups [g, m], each ordered by itself -> blocks [k, g * c], the columns of the
    groups

Tokens are ordered within groups of at least 256 and not over all, and a block takes some of every
group: so where the tokens are cut over devices under plain `jit`, ordering needs no communication
and every device works on every block. Groups are equal powers of two as long as the number of
tokens allows.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

SMALLEST_GROUP = 256  # tokens
LARGEST_BLOCK = 1 << 28  # logits: 1 GB in float32


class Blocks(NamedTuple):
    hidden: Float[Array, "*blocks block dim"]
    targets: Int[Array, "*blocks block"]
    weights: Float[Array, "*blocks block"]
    words: UInt32[Array, "*blocks block 2"] | None = None  # a key for every token


def default_block(dim: int, vocab: int, kind: Any = jnp.float32) -> int:
    """The power of two up to `dim`, 256 at least: logits no larger than the kernel's gradient.

    A block costs one pass over that gradient (vocab x dim) and several over its logits (vocab x block).
    Against all logits at once, on two cores in float32, loss and gradient took 0.83 of the time for
    [2048 x 256] -> 50257 (256 tokens), 0.90 for [4096 x 768] -> 50257 (512; temporaries 275 MB, not
    1647). Half as many tokens where logits are held in half precision beside float32: 0.8 there.
    """
    tokens = 1 << (max(256, dim).bit_length() - 1)
    if jnp.dtype(kind).itemsize < 4:
        tokens = max(256, tokens // 2)
    return max(128, min(tokens, LARGEST_BLOCK // vocab))


def cut_into_blocks(
    block: int, hidden: Array, targets: Array, weights: Array, words: Array | None = None
) -> tuple[Blocks, Int[Array, "groups group"] | None]:
    """Blocks, zeroed where the weight is 0, and the order within each group (None: as it was)."""
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
    width = -(-size // count)  # of a group in a block
    count = -(-size // width)  # fewer where whole blocks would be padding
    order = jnp.argsort(~used.reshape(groups, size), axis=1, stable=True)

    def cut(array: Array) -> Array:
        grouped = array.reshape(groups, size, *array.shape[1:])
        index = order.reshape(order.shape + (1,) * (grouped.ndim - 2))
        ordered = jnp.take_along_axis(grouped, index, axis=1)
        tail = [(0, 0)] * (grouped.ndim - 2)
        padded = jnp.pad(ordered, [(0, 0), (0, width * count - size), *tail])
        parts = padded.reshape(groups, count, width, *array.shape[1:])
        return jnp.moveaxis(parts, 1, 0).reshape(count, groups * width, *array.shape[1:])

    return jax.tree.map(cut, arrays), order


def join_blocks(rows: Any, order: Int[Array, "groups group"] | None, tokens: int) -> Any:
    """Undoes `cut_into_blocks` for arrays [blocks, block, …] -> [tokens, …]."""
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
    groups = 1
    while tokens % (2 * groups) == 0 and tokens // (2 * groups) >= SMALLEST_GROUP:
        groups *= 2
    return groups
