"""Augmentation of images on the device: random views as pure functions of images and keys.

The package is usable in any JAX project: it needs jax and jaxtyping alone, and nothing else of
`jaxssl`.

>>> import jax, jax.numpy as jnp
>>> from jaxssl.augment import Augmentation, ColorJitter, GaussianBlur, example_keys, fold
>>> augment = Augmentation(
...     size=(24, 24), jitter=ColorJitter(), grayscale=0.2, blur=GaussianBlur(size=3)
... )
>>> @jax.jit
... def two_views(pixels, key):
...     keys = example_keys(key, len(pixels))  # one key for each image
...     return augment(pixels, fold(keys, 0)), augment(pixels, fold(keys, 1))
>>> pixels = jnp.zeros((8, 32, 32, 3), jnp.uint8)
>>> first, second = two_views(pixels, jax.random.key(0))
>>> first.shape, first.dtype
((8, 24, 24, 3), dtype('float32'))

Images go in as uint8 `[batch, height, width, channel]`, and views come out as float32 from 0 to 1.
Each image has a random key of its own, so its view is the same on any number of devices and in any
microbatch.

`Augmentation` makes one view of each image, `MultiCrop` several of two sizes. `simclr_views`,
`simsiam_views`, `byol_views` and `dino_views` return the augmentations of published methods. The functions
`rgb_to_...` and `..._to_rgb` convert between colour spaces.
"""

from jaxssl import show_fields
from jaxssl.augment.blur import GaussianBlur
from jaxssl.augment.colours import (
    hsv_to_rgb,
    lab_to_rgb,
    rgb_to_gray,
    rgb_to_hsv,
    rgb_to_lab,
)
from jaxssl.augment.crop import RandomResizedCrop
from jaxssl.augment.jitter import ColorJitter
from jaxssl.augment.pipeline import Augmentation, Cutout, MultiCrop, many_views
from jaxssl.augment.random_numbers import example_keys, fold
from jaxssl.augment.recipes import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    byol_views,
    dino_views,
    simclr_views,
    simsiam_views,
)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Augmentation",
    "ColorJitter",
    "Cutout",
    "GaussianBlur",
    "MultiCrop",
    "RandomResizedCrop",
    "byol_views",
    "dino_views",
    "example_keys",
    "fold",
    "hsv_to_rgb",
    "lab_to_rgb",
    "many_views",
    "rgb_to_gray",
    "rgb_to_hsv",
    "rgb_to_lab",
    "simclr_views",
    "simsiam_views",
]

show_fields(globals()[name] for name in __all__)
