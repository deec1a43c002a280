"""Keeps an optimizer's state in bfloat16, which halves its memory and its part of a checkpoint.

With b = 0.999, a moving average m <- b m + (1 - b) g changes by less than the precision of bfloat16
(2^-8) in one step, and would never change if it were rounded to the nearest value. It is therefore
rounded up or down at random, with probabilities such that the expected value is exact (stochastic
rounding):

    bfloat16(x) = the upper 16 bits of (bits of float32 x + 16 random bits)

The random bits are a hash of (position in the array, step), so they are the same on any number of
devices.

References:
  Gupta et al. 2015, "Deep learning with limited numerical precision", section 3.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt32

from jaxssl.models.layers.dropout import key_words, random_bits

Tree = Any


class NarrowState(NamedTuple):
    """The state of an optimizer, in bfloat16."""

    updates: Int[Array, ""]
    """Number of updates so far, int32 scalar; it seeds the rounding."""
    inner: Tree
    """The inner optimizer's state, float32 arrays with at least one axis converted to bfloat16."""


def in_bfloat16(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Returns the optimizer `inner`, its state stored in bfloat16 between the updates.

    The update itself is computed in float32, as before. Scalars and integers are stored unchanged.
    """

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
    """Rounds float32 to bfloat16 at random, up or down, such that the expected value is x.

    Args:
      x: Values of any shape, `[...]`, float32. Infinities and NaN are kept.
      words: The two 32-bit words of a random key, `[2]`, as from `key_words`.

    Returns:
      The rounded values, bfloat16, in the shape of `x`.
    """
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    upper = (bits + (random_bits(words, x.shape) >> 16)) >> 16
    rounded = jax.lax.bitcast_convert_type(upper.astype(jnp.uint16), jnp.bfloat16)
    return jnp.where(jnp.isfinite(x), rounded, x.astype(jnp.bfloat16))


def _narrow(state: Tree, count: Array) -> Tree:
    """Rounds the float32 arrays of a state to bfloat16; `count` seeds the random bits."""
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
    """Converts bfloat16 to float32, exactly."""
    return leaf.astype(jnp.float32) if leaf.dtype == jnp.bfloat16 else leaf
