"""VICReg: two views are embedded alike, each feature varies over images, and no two features vary together.

    loss = 25 mean (z - z')^2 + 25 mean_d max(0, 1 - sd_d) + sum_{d != e} covariance_de^2 / dim

where sd_d is the standard deviation of feature d over the images. The last two terms are computed for each of
the two views; `losses.vicreg` says how they are averaged and added.

Deviations from the paper, with the reason for each:
  - The means of the terms are those of the authors' code, not of the paper's equations: invariance is
    averaged over features too, and variance over the two views (the weights 25, 25 and 1 belong to these).
  - The last layer of the projector has a bias; in their code it has none (it starts at 0).
  - What all objectives on two views share: `joint_embedding/two_views.py`.

References:
  Bardes et al. 2022, "VICReg: variance-invariance-covariance regularization", equations 1 to 6.

The shapes are those of `joint_embedding/two_views.py`.
"""

from dataclasses import dataclass

from jaxtyping import Array, Float

from jaxssl.augment import Augmentation, byol_views
from jaxssl.errors import check_at_least, checked
from jaxssl.losses import vicreg
from jaxssl.models.layers.mlp import HeadNorm
from jaxssl.models.pretraining.joint_embedding import Encoder
from jaxssl.objectives.joint_embedding.two_views import Projections, TwoViews


@dataclass(frozen=True)
@checked
class VICReg(TwoViews):
    """Weighs invariance, variance and covariance of two views (Bardes et al. 2022, section 4.1)."""

    encoder: Encoder
    """Network for images: a `ResNetConfig` or a `VisionTransformerConfig`."""
    views: tuple[Augmentation, Augmentation] = byol_views()
    """Augmentations of the first and of the second view, of the same size."""
    projector: tuple[int, ...] = (8192, 8192, 8192)
    """Widths of the projector's layers."""
    norm: HeadNorm = "batch"
    """Norm between the projector's layers; "batch" is over the global batch, one view at a time."""
    invariance_weight: float = 25.0
    """Weight of the squared distance between the two views."""
    variance_weight: float = 25.0
    """Weight of the features whose standard deviation is below 1."""
    covariance_weight: float = 1.0
    """Weight of the squared covariances of different features."""

    def __post_init__(self) -> None:
        self.check_fields()
        check_at_least(self, 0, "invariance_weight", "variance_weight", "covariance_weight")

    def compare(self, rows: Projections, weights: Float[Array, " batch"]) -> Float[Array, ""]:
        """Computes the three terms of `rows.projected`, `[batch, 2, width]`, under `weights`, `[batch]`."""
        return vicreg(
            rows.projected[:, 0],
            rows.projected[:, 1],
            weights,
            invariance_weight=self.invariance_weight,
            variance_weight=self.variance_weight,
            covariance_weight=self.covariance_weight,
        )
