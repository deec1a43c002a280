"""The network that joint embeddings of images are trained with: an encoder, a projector and, in some, more.

    pixels -> encoder -> features -> projector -> projections -> predictor, or scores of prototypes

Only the encoder is used after training.

References: Chen et al. 2020, SimCLR (projector); Grill et al. 2020, BYOL (predictor); Caron et al. 2021, DINO
(prototypes).
"""

from typing import Literal

import jax
from flax import nnx
from jaxtyping import Array

from jaxssl.models.layers.mlp import MLP, HeadNorm
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig

Encoder = ResNetConfig | VisionTransformerConfig


class JointEmbedding(nnx.Module):
    """An encoder with a projector and, where asked for, a predictor or prototypes.

    The prototypes are the columns of the parameter `prototypes`, `[projection, prototypes]`; their norm
    does not matter.

    Args:
      key: Random key of the initial parameters.
      encoder: Configuration of the encoder.
      channels: Channels of the images.
      projector: Widths of the projector's layers, without that of its inputs, the features.
      predictor: Widths of the predictor's layers, without that of its inputs. Empty: no predictor.
      prototypes: Number of prototypes. 0: none.
      norm: Norm of projector and predictor: "none", "layer" or "batch".
      norm_projections: Whether, with batch norms, the projections are normalised, too.
      activation: What follows all layers of projector and predictor but their last.
    """

    # The lines of the parts are in their own files.
    layout = ((r"prototypes", ("embed", "vocab")),)

    def __init__(
        self,
        key: Array,
        encoder: Encoder,
        channels: int,
        *,
        projector: tuple[int, ...],
        predictor: tuple[int, ...] = (),
        prototypes: int = 0,
        norm: HeadNorm = "none",
        norm_projections: bool = False,
        activation: Literal["relu", "gelu"] = "relu",
    ):
        keys = jax.random.split(key, 4)
        self.encoder = encoder.make(keys[0], channels)
        self.projector = MLP(
            keys[1],
            (encoder.features, *projector),
            norm=norm,
            norm_outputs=norm_projections,
            activation=activation,
        )
        widths = (projector[-1], *predictor)
        self.predictor = (
            MLP(keys[2], widths, norm=norm, activation=activation) if predictor else None
        )
        columns = (projector[-1], prototypes)
        drawn = jax.random.normal(keys[3], columns) if prototypes else None
        self.prototypes = None if drawn is None else nnx.Param(projector[-1] ** -0.5 * drawn)
