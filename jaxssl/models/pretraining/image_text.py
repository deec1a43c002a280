"""Encoders of images and of texts, with projections to a common space (Radford et al. 2021, CLIP)."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.layers.dense import Linear
from jaxssl.models.pretraining.joint_embedding import Encoder
from jaxssl.models.transformer_config import TransformerConfig


class ImageTextModel(nnx.Module):
    """Both encoders, their projections, and a learned temperature.

    The parameter `logit_scale` is log(1 / temperature).

    Args:
      key: Random key of the initial parameters.
      encoder: Configuration of the encoder of images.
      text: Configuration of the encoder of texts.
      channels: Channels of the images.
      vocab_size: Number of token ids.
      width: Width of the common space.
      temperature: Initial temperature, a positive number.
      bias: Initial bias of the logits, which the sigmoid loss learns (Zhai et al. 2023, SigLIP). `None`:
        there is none.
      projects_images: Whether images have a projection; without one, their embeddings are the features.
      text_bias: Whether the projection of texts has a bias.
    """

    # The encoders' own lines are in their files.
    layout = (
        (r"(image|text)_projection/kernel", ("embed", None)),
        (r"text_projection/bias", (None,)),
        (r"logit_(scale|bias)", ()),
    )

    def __init__(
        self,
        key: Array,
        encoder: Encoder,
        text: TransformerConfig,
        *,
        channels: int,
        vocab_size: int,
        width: int,
        temperature: float,
        bias: float | None,
        projects_images: bool = True,
        text_bias: bool = False,
    ):
        keys = jax.random.split(key, 4)
        self.encoder = encoder.make(keys[0], channels)
        self.text = text.make(keys[1], vocab_size)
        self.image_projection = (
            Linear(keys[2], encoder.features, width, stddev=encoder.features**-0.5, bias=False)
            if projects_images
            else None
        )
        self.text_projection = Linear(
            keys[3], text.width, width, stddev=text.width**-0.5, bias=text_bias
        )
        self.logit_scale = nnx.Param(jnp.array(math.log(1 / temperature), jnp.float32))
        self.logit_bias = None if bias is None else nnx.Param(jnp.array(bias, jnp.float32))

    def project_images(
        self, features: Float[Array, "batch features"]
    ) -> Float[Array, "batch width"]:
        """Returns the embeddings `[batch, width]` of images with these `features` `[batch, features]`."""
        projection = self.image_projection
        return features if projection is None else projection(features)
