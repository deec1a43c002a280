"""What joint embeddings are trained with: an encoder of images, a projector and, in some, more behind it.

    pixels -> encoder -> features -> projector -> projections -> predictor, or scores of prototypes

Chen et al. 2020 (projector); Grill et al. 2020 (predictor); Caron et al. 2021 (prototypes). Only the
encoder is used after training.
"""

from itertools import pairwise
from typing import Any, Literal

import jax
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.losses.unit_vectors import to_unit
from jaxssl.models.heads import MLP
from jaxssl.models.residual_network import ResNet
from jaxssl.models.vision_transformer import VisionTransformer

Encoder = ResNet | VisionTransformer
Norm = Literal["none", "layer", "batch"]
Statistics = Any  # of batch norms, by part; its leaves are none where no part has any


class JointEmbedding(nnx.Module):
    """`projector` and `predictor` are the widths of their layers behind the first one's inputs."""

    def __init__(
        self,
        key: Array,
        encoder: Encoder,
        channels: int,
        *,
        projector: tuple[int, ...],
        predictor: tuple[int, ...] = (),
        prototypes: int = 0,
        norm: Norm = "none",
    ):
        keys = jax.random.split(key, 4)
        self.encoder = encoder.make(keys[0], channels)
        self.projector = MLP(keys[1], (encoder.features, *projector), norm=norm)
        self.predictor = MLP(keys[2], (projector[-1], *predictor), norm=norm) if predictor else None
        self.prototypes = Prototypes(keys[3], projector[-1], prototypes) if prototypes else None


class Prototypes(nnx.Module):
    """Cosines of the inputs with prototypes: DINO's last layer, whose weights are of length one."""

    def __init__(self, key: Array, width: int, count: int):
        self.kernel = nnx.Param(jax.random.normal(key, (width, count)) * width**-0.5)

    def __call__(self, x: Float[Array, "rows width"]) -> Float[Array, "rows count"]:
        return to_unit(x) @ to_unit(self.kernel[...].T).T


def project(
    parts: Any,
    pixels: Float[Array, "rows height width channels"],
    *,
    key: Array | None = None,
    statistics: Statistics = None,
) -> tuple[Float[Array, "rows width"], Statistics]:
    """Projections by anything that has an `encoder` and a `projector`, and moments of their batch norms.

    Without `statistics` these normalise by the rows at hand.
    """
    own = {"encoder": None, "projector": None} if statistics is None else statistics
    features, encoder = parts.encoder(pixels, key=key, statistics=own["encoder"])
    projections, projector = parts.projector(features, statistics=own["projector"])
    return projections, {"encoder": encoder, "projector": projector}


def project_and_predict(
    model: JointEmbedding,
    pixels: Float[Array, "rows height width channels"],
    *,
    key: Array | None = None,
    statistics: Statistics = None,
) -> tuple[Float[Array, "rows width"], Float[Array, "rows width"], Statistics]:
    """Projections, what the predictor makes of them, and moments of all batch norms."""
    if model.predictor is None:
        raise ValueError("the model was made without a predictor")
    projections, moments = project(model, pixels, key=key, statistics=statistics)
    own = None if statistics is None else statistics["predictor"]
    predictions, predictor = model.predictor(projections, statistics=own)
    return projections, predictions, {**moments, "predictor": predictor}


def head_flops(*widths: int) -> float:
    """Of one row through layers of these widths, the inputs' first."""
    return sum(2.0 * inputs * outputs for inputs, outputs in pairwise(widths))


# The lines of the parts are in their own files.
LAYOUT = ((r"prototypes/kernel", ("embed", "vocab")),)
