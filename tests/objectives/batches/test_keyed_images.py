"""Images with keys, and random orders of positions: permutations, all equally likely."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import draw, mean_metrics, random_order
from tests.tiny import tiny_images


def test_orders_are_permutations_with_their_ranks():
    order, ranks = map(np.asarray, random_order(jax.random.split(jax.random.key(4), 5), 7))
    for own, rank in zip(order, ranks, strict=True):
        assert sorted(own) == list(range(7))
        assert [list(own).index(position) for position in range(7)] == list(rank)


def test_every_position_comes_first_as_often():
    """Of 4,000 images: among the first 12 of 16 within 4.5 standard deviations of 3/4, which are 0.031."""
    _, ranks = random_order(jax.random.split(jax.random.key(0), 4000), 16)
    np.testing.assert_allclose((np.asarray(ranks) >= 4).mean(axis=0), 0.75, atol=0.031)


def test_images_get_keys_of_their_own_and_equal_weights(key):
    examples = draw(Images(jnp.asarray(tiny_images(batch=4))), key)
    np.testing.assert_allclose(examples.weights, 0.25)
    np.testing.assert_allclose(examples.total, 4.0)
    assert len(np.unique(jax.random.key_data(examples.keys), axis=0)) == 4
    # A microbatch of two images with the sum of their halves of the loss: the mean over its images.
    half = jax.tree.map(lambda x: x[:2], examples)
    metric = mean_metrics(half, loss=jnp.float32(0.25 * (3.0 + 5.0)))["loss"]
    assert (float(metric.total), float(metric.weight)) == (8.0, 2.0)
