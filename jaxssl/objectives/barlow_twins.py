"""Barlow Twins: each feature of one view predicts the same feature of the other view, and no other feature.

    C    = correlation over images of the features of the first views and of the second views, `[dim, dim]`
    loss = sum_d (1 - C_dd)^2 + off_diagonal_weight * sum_{d != e} C_de^2

There are no negatives, no teacher and no stopped gradient; a constant feature has no correlation with itself,
so a collapse has a high loss.

Deviations from the paper, with the reason for each:
  - Linear layers of the projector have biases; in the authors' code they have none (they start at 0, and
    batch norms take them away).
  - The factor of the redundancy term is 0.005 as in the paper; the code's default is 0.0051.
  - What all objectives on two views share: `joint_embedding/two_views.py`.

References:
  Zbontar et al. 2021, "Barlow Twins: self-supervised learning via redundancy reduction", equations 1 and 2.

Shapes: `joint_embedding/two_views.py`.
"""

from dataclasses import dataclass

from jaxtyping import Array, Float

from jaxssl import losses
from jaxssl.augment import Augmentation, byol_views
from jaxssl.errors import check_at_least, checked
from jaxssl.models.layers.mlp import HeadNorm
from jaxssl.models.pretraining.joint_embedding import Encoder
from jaxssl.objectives.joint_embedding.two_views import Projections, TwoViews


@dataclass(frozen=True)
@checked
class BarlowTwins(TwoViews):
    """Makes the correlation of two views the identity matrix (Zbontar et al. 2021, section 2)."""

    encoder: Encoder
    """Network for images: a `ResNetConfig` or a `VisionTransformerConfig`."""
    views: tuple[Augmentation, Augmentation] = byol_views()
    """Augmentations of the first and of the second view, of the same size."""
    projector: tuple[int, ...] = (8192, 8192, 8192)
    """Widths of the projector's layers, whose outputs are correlated."""
    norm: HeadNorm = "batch"
    """Norm between the projector's layers; "batch" is over the global batch, one view at a time."""
    off_diagonal_weight: float = 5e-3
    """Weight of the correlations of different features."""

    def __post_init__(self) -> None:
        self.check_fields()
        check_at_least(self, 0, "off_diagonal_weight")

    def compare(self, rows: Projections, weights: Float[Array, " batch"]) -> Float[Array, ""]:
        """Computes the loss of the correlation of the projections in `rows`, `[batch, 2, width]`.

        `weights`, `[batch]`, are those of the images.
        """
        return losses.barlow_twins(
            rows.projected[:, 0],
            rows.projected[:, 1],
            weights,
            off_diagonal_weight=self.off_diagonal_weight,
        )
