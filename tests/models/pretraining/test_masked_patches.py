"""The decoder of a masked autoencoder of patches."""

import jax.numpy as jnp
import numpy as np

from jaxssl.models.layers.patches import sine_positions
from jaxssl.models.pretraining.masked_patches import MaskedPatchModel
from jaxssl.models.recipes import vit
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.sharding.layout import axes_of
from tests.models.small_models import filled

ENCODER = VisionTransformerConfig(vit(1, 16, 2), patch=4, registers=1)
MODEL = filled(lambda key: MaskedPatchModel(key, ENCODER, vit(1, 8, 2), 3))


def test_mask_tokens_are_one_vector():
    masks = MODEL.masks(jnp.zeros((2, 5, 8), jnp.bfloat16), 3)
    assert masks.dtype == jnp.bfloat16
    assert masks.shape == (2, 3, 8)
    np.testing.assert_array_equal(masks[1, 2], MODEL.mask[...][0].astype(jnp.bfloat16))


def test_pixels_are_those_of_the_blocks_on_states_with_positions():
    states = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2 + 6, 8)), jnp.float32)
    first, patches = states[:, :2], states[:, 2:]
    pixels = MODEL.decode(first, patches, 2, 3)
    assert pixels.shape == (2, 6, 48)
    placed = jnp.concatenate([first, patches + sine_positions(2, 3, 8)[None]], axis=1)
    np.testing.assert_allclose(pixels, MODEL.patches(MODEL.decoder(placed)[:, 2:]), atol=1e-5)


def test_every_parameter_has_a_line():
    assert None not in axes_of(MODEL).values()
