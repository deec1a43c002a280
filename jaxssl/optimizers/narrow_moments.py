"""An optimizer's state in bfloat16: half of its memory, and of what a checkpoint holds of it.

A moving average m <- b m + (1 - b) g moves by less than bfloat16 can tell (2^-8) where b is 0.999, and
would stand still if it were rounded to the nearest. So it is rounded up or down at random, with chances
that make it right on average (stochastic rounding; Gupta et al. 2015, section 3):

    bfloat16(x) = the upper 16 bits of (bits of float32 x + 16 random bits)

The random bits are a hash of (place, step), the same on any number of devices.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt32

from jaxssl.models.layers.dropout import key_words, random_bits

Tree = Any


class NarrowState(NamedTuple):
    """The inner state with its float32 arrays in bfloat16, and the number of updates."""

    updates: Int[Array, ""]
    inner: Tree


def in_bfloat16(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """`inner`, which computes in float32 as ever, and keeps the arrays of its state in bfloat16."""

    def init(model: Tree) -> NarrowState:
        count = jnp.zeros((), jnp.int32)
        return NarrowState(count, _narrow(inner.init(model), count))

    def update(updates: Tree, state: NarrowState, model: Tree = None) -> tuple[Tree, NarrowState]:
        wide = jax.tree.map(_widen, state.inner)
        updates, wide = inner.update(updates, wide, model)
        count = state.updates + 1
        return updates, NarrowState(count, _narrow(wide, count))

    return optax.GradientTransformation(init, update)


def round_at_random(x: Float[Array, "..."], words: UInt32[Array, "2"]) -> Float[Array, "..."]:
    """float32 to bfloat16, to the neighbour above or below, on average x; `words` are a key's."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    upper = (bits + (random_bits(words, x.shape) >> 16)) >> 16
    rounded = jax.lax.bitcast_convert_type(upper.astype(jnp.uint16), jnp.bfloat16)
    return jnp.where(jnp.isfinite(x), rounded, x.astype(jnp.bfloat16))


def _narrow(state: Tree, count: Array) -> Tree:
    leaves, form = jax.tree.flatten(state)
    key = jax.random.fold_in(jax.random.key(0), count)
    return jax.tree.unflatten(
        form,
        [
            round_at_random(leaf, key_words(jax.random.fold_in(key, number)))
            if leaf.dtype == jnp.float32 and leaf.ndim
            else leaf
            for number, leaf in enumerate(leaves)
        ],
    )


def _widen(leaf: Array) -> Array:
    return leaf.astype(jnp.float32) if leaf.dtype == jnp.bfloat16 else leaf
