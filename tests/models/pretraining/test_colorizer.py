"""The colorizer reads one channel and scores bins of colour."""

import jax
import jax.numpy as jnp

from jaxssl.models.pretraining.colorizer import Colorizer
from jaxssl.models.resnet import ResNetConfig
from jaxssl.sharding.layout import axes_of


def test_shapes_and_layout(key):
    encoder = ResNetConfig(10, width=8)
    model = jax.eval_shape(lambda: Colorizer(key, encoder, 7, decoder_width=4, doublings=1))

    def scores(model, lightness):
        return model.decoder(model.encoder.maps(lightness)[0])

    found = jax.eval_shape(scores, model, jnp.zeros((2, 16, 16, 1)))
    assert found.shape == (2, 4, 4, 7)  # maps of 2 x 2, doubled once
    assert None not in axes_of(model).values()
