"""Images with random keys of their own, so that what is drawn for an image depends on no device or neighbour.

batch    images        count    positions of an image, of which some are chosen at random
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxssl.augment.random_numbers import example_keys, uniform
from jaxssl.objectives.batches.batch import Images, Ratio, share_evenly

Metrics = dict[str, Ratio]


class KeyedImages(NamedTuple):
    """Images as they were read, with keys; `loss` makes their views, so that few exist at a time."""

    pixels: UInt8[Array, "batch height width channels"]
    """The images."""
    keys: Key[Array, " batch"]
    """Random key of each image."""
    weights: Float[Array, " batch"]
    """Weights of the images, 0 for one that only fills up; they add up to one over the global batch."""
    total: Float[Array, " batch"]
    """Number of images of the global batch, the same in every row."""


def draw(batch: Images, key: Array) -> KeyedImages:
    """Gives every image of the global `batch` a random key made from `key`, and all that count a weight."""
    rows = batch.pixels.shape[0]
    weights, total = share_evenly(jnp.ones(rows, bool) if batch.real is None else batch.real)
    return KeyedImages(
        batch.pixels, example_keys(key, rows), weights, jnp.broadcast_to(total, rows)
    )


def random_order(
    keys: Key[Array, " batch"], count: int
) -> tuple[Int[Array, "batch count"], Int[Array, "batch count"]]:
    """Draws an order of the positions 0 to `count` - 1 for every image, all orders equally likely.

    Args:
      keys: Random keys, `[batch]`.
      count: Number of positions.

    Returns:
      The positions in the order of each image, `[batch, count]`, and the rank of each position in it,
      `[batch, count]`.
    """
    order = jnp.argsort(uniform(keys, 0, count), axis=1)
    return order, jnp.argsort(order, axis=1)


def mean_metrics(examples: KeyedImages, **sums: Float[Array, ""]) -> Metrics:
    """Returns weighted sums over `examples` as means over images.

    Args:
      examples: Images with weights, `[batch]`, which add up to one over the global batch.
      sums: Scalars by the name of the metric, each a sum over these images under these weights.
    """
    total = examples.total[0]
    images = examples.weights.sum() * total
    return {name: Ratio(value * total, images) for name, value in sums.items()}
