"""The numbers of the papers, and that the views of each recipe can be made."""

import jax
import numpy as np
import pytest

from jaxssl.augment import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    byol_views,
    dino_views,
    simclr_views,
    simsiam_views,
)
from tests.augment.images import example_keys


def test_simclr():
    views = simclr_views(224)
    assert views.size == (224, 224)
    assert views.crop.scale == (0.08, 1.0)
    jitter = views.jitter
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == (0.8,) * 3 + (
        0.2,
    )
    assert (views.grayscale, views.blur.probability, views.mean) == (0.2, 0.5, ())
    cifar = simclr_views(strength=0.5, blurred=False, smallest=0.2)
    assert (cifar.size, cifar.blur, cifar.crop.scale) == (None, None, (0.2, 1.0))
    assert (cifar.jitter.brightness, cifar.jitter.hue) == (0.4, 0.1)


def test_simsiam():
    views = simsiam_views(224)
    assert (views.size, views.crop.scale, views.crop.filter) == ((224, 224), (0.2, 1.0), "bilinear")
    jitter = views.jitter
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == (0.4,) * 3 + (
        0.1,
    )
    assert (jitter.probability, views.grayscale, views.blur.probability) == (0.8, 0.2, 0.5)
    assert (views.mean, views.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_byol():
    first, second = byol_views(224)
    assert (first.blur.probability, second.blur.probability) == (1.0, 0.1)
    assert (first.solarize, second.solarize) == (0.0, 0.2)
    assert first.jitter == second.jitter
    assert (first.jitter.saturation, first.jitter.hue) == (0.2, 0.1)
    assert (first.mean, first.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert [view.blur for view in byol_views(32, blurred=False)] == [None, None]


def test_dino():
    views = dino_views()
    assert (views.large_count, views.small_count) == (2, 8)
    assert [view.size for view in views.large] == [(224, 224)] * 2
    assert [view.crop.scale for view in views.large] == [(0.25, 1.0)] * 2
    assert [view.blur.probability for view in views.large] == [1.0, 0.1]
    assert [view.solarize for view in views.large] == [0.0, 0.2]
    assert (views.small.size, views.small.crop.scale) == ((96, 96), (0.05, 0.25))
    assert (views.small.blur.probability, views.small.solarize) == (0.5, 0.0)


@pytest.mark.parametrize("views", [simclr_views(12), simsiam_views(12), *byol_views(12)])
def test_views_of_the_size_asked_for(views):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 20, 3), np.uint8)
    found = jax.jit(views)(pixels, example_keys(jax.random.key(0), 2))
    assert found.shape == (2, 12, 12, 3)
    assert np.isfinite(found).all()
