"""The augmentations of an objective are those it calls: wrappers of the user, not what is inside them."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from jaxssl.augment import Augmentation, MultiCrop
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives import BYOL, DINO, SimCLR
from jaxssl.pretrained.pictures import view_rows
from jaxssl.pretrained.views import augmentations_of, inner_augmentation
from tests.tiny import tiny_images

STILL = Augmentation(crop=None, flip=0.0, mean=(0.5,), std=(0.25,))
PIXELS = tiny_images(2, 3)


@dataclasses.dataclass(frozen=True)
class Negative:
    """An augmentation of the user's own: the negative of another."""

    inner: Augmentation = STILL
    size = None

    def __call__(self, pixels, keys):
        return -self.inner(pixels, keys)


class Plain:
    """The same without being a dataclass."""

    size = None

    def __init__(self):
        self.inner = STILL

    def __call__(self, pixels, keys):
        return self.inner(255 - pixels, keys)


@dataclasses.dataclass(frozen=True)
class Outer:
    """An objective that wraps another."""

    objective: object
    norm: object = jnp.tanh  # can be called, but is no augmentation


def test_what_is_found():
    encoder = ResNetConfig(10, width=8)
    views = SimCLR(encoder).views
    assert augmentations_of(Outer(SimCLR(encoder))) == [views]
    assert augmentations_of(SimCLR(encoder, views=Negative())) == [Negative()]
    crops = MultiCrop()
    assert augmentations_of(Outer(DINO(encoder, crops=crops))) == [crops.large, crops.small]
    crops = DINO(encoder).crops
    assert augmentations_of(DINO(encoder)) == [*crops.large, crops.small]
    assert len(augmentations_of(BYOL(encoder))) == 2
    plain = Plain()
    assert augmentations_of(SimCLR(encoder, views=plain)) == [plain]


def test_the_users_own_augmentation_is_drawn():
    for views in (Negative(), Plain()):
        assert inner_augmentation(views) == STILL
        rows = view_rows(SimCLR(ResNetConfig(10, width=8), views=views), PIXELS)
        np.testing.assert_allclose(rows["view 1"], 1 - PIXELS / 255, atol=1e-6)
    assert inner_augmentation(lambda pixels, keys: pixels) == Augmentation(crop=None, flip=0.0)
