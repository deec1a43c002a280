"""Random numbers of an image: from a key of its own, so that a view depends on nothing beside it.

The key of image i of the global batch is folded from (key, i): its view is the same on any number of
devices, in any microbatch, whatever its neighbours are. Every transform folds in a number of its own,
so that one more transform leaves the draws of the others as they were.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

CROP, FLIP, JITTER, GRAYSCALE, BLUR, SOLARIZE, CUTOUT = range(7)  # what transforms fold in


def example_keys(key: Array, count: int) -> Key[Array, " count"]:
    """A key for each image of the global batch."""
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(count))


def fold(keys: Key[Array, " batch"], number: int | Int[Array, ""]) -> Key[Array, " batch"]:
    """Other keys, from these and a number."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)


def uniform(keys: Key[Array, " batch"], transform: int, count: int) -> Float[Array, "batch count"]:
    """Numbers from 0 to 1 for a transform."""
    return jax.vmap(lambda key: jax.random.uniform(key, (count,)))(fold(keys, transform))


def select(
    values: Float[Array, "batch n"], places: Int[Array, "batch m"]
) -> Float[Array, "batch m"]:
    """Of each row the values at its places, without a gather: rows lie on several devices."""
    chosen = places[:, :, None] == jnp.arange(values.shape[1])[None, None]
    return jnp.where(chosen, values[:, None], 0.0).sum(axis=2)


def between(share: Array, low: float, high: float) -> Array:
    """A number from 0 to 1 as one from low to high."""
    return low + share * (high - low)
