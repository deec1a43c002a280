"""The convolutional decoder against a slow reference."""

import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.pretraining.image_decoder import ImageDecoder, stages_of
from jaxssl.sharding.layout import axes_of
from tests.models.vision_reference import images, slow_convolution, slow_norm, weights


def test_decoder_doubles_maps_of_any_size(key):
    decoder = ImageDecoder(key, 6, 4, 3, doublings=2)
    maps = images(2, 3, 5, 6)
    assert decoder(maps).shape == (2, 12, 20, 3)
    x = maps
    for convolution, norm in zip(decoder.convolutions, decoder.norms, strict=True):
        x = x.repeat(2, axis=1).repeat(2, axis=2)
        x = np.maximum(slow_norm(slow_convolution(x, weights(convolution), 1), norm), 0)
    np.testing.assert_allclose(
        decoder(maps), slow_convolution(x, weights(decoder.pixels), 1), atol=1e-5
    )
    assert None not in axes_of(decoder).values()


def test_channels_halve_from_stage_to_stage():
    assert stages_of(100, 4, 3) == [(100, 16), (16, 8), (8, 4)]
    assert stages_of(100, 4, 5)[0] == (100, 32)  # at most 8 times the last
    assert stages_of(100, 4, 0) == []


def test_sizes_that_make_no_decoder(key):
    with pytest.raises(InputError, match="inputs=0, width=4 and outputs=3"):
        ImageDecoder(key, 0, 4, 3, doublings=2)
