"""Encoders of images and texts: projections of one width, and the learned temperature."""

import jax
import numpy as np
import pytest

from jaxssl.models.pretraining.image_text import ImageTextModel
from jaxssl.models.recipes import bert
from jaxssl.models.resnet import ResNetConfig
from jaxssl.sharding.layout import axes_of

SIZES = {"channels": 3, "vocab_size": 23, "width": 5}


@pytest.mark.parametrize("bias", [None, -10.0])
def test_projections_and_temperature(bias, key):
    encoder, text = ResNetConfig(10, width=8), bert(1, 16, 2, max_length=8)
    model = ImageTextModel(key, encoder, text, **SIZES, temperature=0.07, bias=bias)
    assert model.image_projection.kernel.shape == (64, 5)
    assert model.text_projection.kernel.shape == (16, 5)
    np.testing.assert_allclose(np.exp(-model.logit_scale[...]), 0.07, rtol=1e-6)
    assert (model.logit_bias is None) == (bias is None)
    assert None not in axes_of(model).values()
    assert len(jax.tree.leaves(axes_of(model)["logit_scale"])) == 0


def test_images_without_a_projection_and_texts_with_a_bias(key):
    encoder, text = ResNetConfig(10, width=2), bert(1, 16, 2, max_length=8)
    options = {"temperature": 0.1, "bias": -10.0, "projects_images": False, "text_bias": True}
    sizes = SIZES | {"width": 16}
    model = jax.eval_shape(lambda key: ImageTextModel(key, encoder, text, **sizes, **options), key)
    features = np.ones((2, 16), np.float32)
    assert model.image_projection is None
    np.testing.assert_array_equal(model.project_images(features), features)
    assert model.text_projection.bias.shape == (16,)
    assert None not in axes_of(model).values()
