"""Images beside keys of their own: what is drawn for an image does not depend on devices or neighbours.

batch    images        places   of an image, of which some are chosen at random
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxssl.augment.draws import example_keys, uniform
from jaxssl.objectives.batches.batch import Images, Ratio, share_evenly

Metrics = dict[str, Ratio]


class KeyedImages(NamedTuple):
    """Images as they were read; a microbatch makes what it needs of its own."""

    pixels: UInt8[Array, "batch height width channels"]
    keys: Key[Array, " batch"]
    weights: Float[Array, " batch"]  # add up to one over the global batch
    total: Float[Array, " batch"]  # images of the global batch, the same in every row


def draw(batch: Images, key: Array) -> KeyedImages:
    """Every image with a key and the same weight."""
    rows = batch.pixels.shape[0]
    weights, total = share_evenly(jnp.ones(rows, bool))
    return KeyedImages(
        batch.pixels, example_keys(key, rows), weights, jnp.broadcast_to(total, rows)
    )


def random_order(
    keys: Key[Array, " batch"], places: int
) -> tuple[Int[Array, "batch places"], Int[Array, "batch places"]]:
    """The places of each image in a random order of its own, and the rank of every place in it."""
    order = jnp.argsort(uniform(keys, 0, places), axis=1)
    return order, jnp.argsort(order, axis=1)


def mean_metrics(examples: KeyedImages, **sums: Float[Array, ""]) -> Metrics:
    """Sums under weights that add up to one over the global batch, as means over its images."""
    total = examples.total[0]
    images = examples.weights.sum() * total
    return {name: Ratio(value * total, images) for name, value in sums.items()}
