"""What joint embeddings are trained with: an encoder of images, a projector and, in some, more behind it.

    pixels -> encoder -> features -> projector -> projections -> predictor, or scores of prototypes

Chen et al. 2020 (projector); Grill et al. 2020 (predictor); Caron et al. 2021 (prototypes). Only the
encoder is used after training.
"""

import jax
from flax import nnx
from jaxtyping import Array

from jaxssl.models.layers.mlp import MLP, HeadNorm
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig

Encoder = ResNetConfig | VisionTransformerConfig


class JointEmbedding(nnx.Module):
    """`projector` and `predictor` are the widths of their layers behind the first one's inputs.

    A column of `prototypes` is one; its length does not matter.
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
    ):
        keys = jax.random.split(key, 4)
        self.encoder = encoder.make(keys[0], channels)
        self.projector = MLP(keys[1], (encoder.features, *projector), norm=norm)
        self.predictor = MLP(keys[2], (projector[-1], *predictor), norm=norm) if predictor else None
        columns = (projector[-1], prototypes)
        drawn = jax.random.normal(keys[3], columns) if prototypes else None
        self.prototypes = None if drawn is None else nnx.Param(projector[-1] ** -0.5 * drawn)
