"""Random numbers from one key for each image, so that a view of an image depends on nothing but that image.

The key of image i of the global batch is folded from (key, i). Its view is therefore the same on
any number of devices, in any microbatch, and whatever the other images are. Each transformation
folds a number of its own into the key, so that adding a transformation does not change the random
numbers of the others.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

CROP, FLIP, JITTER, GRAYSCALE, BLUR, SOLARIZE, CUTOUT = range(7)  # folded into keys


def example_keys(key: Array, count: int) -> Key[Array, " count"]:
    """Makes a random key for each of the `count` images of the global batch from one `key`.

    Args:
      key: A random key.
      count: Number of images.

    Returns:
      Keys, `[count]`.
    """
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(count))


def fold(keys: Key[Array, " batch"], number: int | Int[Array, ""]) -> Key[Array, " batch"]:
    """Makes new keys from `keys`, `[batch]`, by folding `number` into each of them.

    Views of the same images are made from different numbers: `fold(keys, 0)` for the first view,
    `fold(keys, 1)` for the second.
    """
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)


def uniform(keys: Key[Array, " batch"], transform: int, count: int) -> Float[Array, "batch count"]:
    """Draws `count` numbers for every image, uniformly between 0 and 1.

    Args:
      keys: Random keys, `[batch]`.
      transform: Number of the transformation, one of CROP, FLIP, …, which is folded into the keys.
      count: Numbers for each image.

    Returns:
      Random numbers, float32 `[batch, count]`.
    """
    return jax.vmap(lambda key: jax.random.uniform(key, (count,)))(fold(keys, transform))


def select(
    values: Float[Array, "batch n"], positions: Int[Array, "batch m"]
) -> Float[Array, "batch m"]:
    """Selects from every row of `values` the entries at `positions`.

    It compares and adds up instead of gathering: a gather from rows that are sharded over devices
    may be compiled to communication between them.

    Args:
      values: Rows, `[batch, n]`.
      positions: Positions in the rows, int `[batch, m]`.

    Returns:
      Selected entries, `[batch, m]`.
    """
    chosen = positions[:, :, None] == jnp.arange(values.shape[1])[None, None]
    return jnp.where(chosen, values[:, None], 0.0).sum(axis=2)


def between(share: Array, low: float, high: float) -> Array:
    """Maps `share`, an array of any shape `[...]` from 0 to 1, linearly to `low` to `high`."""
    return low + share * (high - low)
