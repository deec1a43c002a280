"""Images, keys and compiled transforms, for the tests of each transform."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.augment import random_numbers

example_keys = jax.jit(random_numbers.example_keys, static_argnums=1)


def images_of(seed=0, batch=4, height=24, width=20, channels=3):
    """Random images from 0 to 1, float32 `[batch, height, width, channel]`."""
    random = np.random.default_rng(seed)
    return random.random((batch, height, width, channels)).astype(np.float32)


def channel_first(images):
    return jnp.asarray(images).transpose(0, 3, 1, 2)
