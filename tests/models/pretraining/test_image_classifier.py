"""An encoder and a perceptron that scores classes."""

import jax
import numpy as np
import pytest

from jaxssl.models.pretraining.image_classifier import ImageClassifier
from jaxssl.models.recipes import vit
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.sharding.layout import axes_of
from tests.models.vision_reference import images

ENCODERS = {
    "resnet": ResNetConfig(10, width=8, norm="batch"),
    "vit": VisionTransformerConfig(vit(depth=1, width=8, heads=2), patch=4),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_scores_are_the_perceptrons_of_the_features(name, key):
    model = ImageClassifier(key, ENCODERS[name], 3, (6, 4))
    x = images(2)
    (scores, moments), (features, expected) = jax.jit(lambda m, x: (m(x), m.encoder(x)))(model, x)
    np.testing.assert_allclose(scores, model.classifier(features)[0], atol=1e-5)
    assert scores.shape == (2, 4)
    assert bool(moments) == bool(expected) == (name == "resnet")
    assert None not in axes_of(model).values()
