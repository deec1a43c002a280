"""SimSiam: predict how the same network, without gradient, embeds another view of the same image.

    z, z' = projector(encoder(view)) of the two views of an image,   p = predictor(z),   p' = predictor(z')
    loss  = mean over images of  - (cos(p, stop_gradient(z')) + cos(p', stop_gradient(z))) / 2

With `stop_gradient=False` (their figure 2) all embeddings become the same and the loss becomes -1.

Deviations from the paper, with the reason for each:
  - With `norm="batch"`, hidden layers that are followed by a batch norm have biases, which it takes away;
    in the authors' code they have none. With another norm the projections are not normalised.
  - The paper's predictor keeps its learning rate while all others fall; here it falls, too (one schedule for
    all parameters). Rates change at every step, theirs at every epoch.
  - Biases and the scales of norms do not decay; in theirs all parameters do (one rule for all optimizers).
  - What all objectives on two views share: `joint_embedding/two_views.py`.

References:
  Chen & He 2021, "Exploring simple siamese representation learning", equations 1 to 4.

Shapes: `joint_embedding/two_views.py`.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
from jaxtyping import Array, Float

from jaxssl.augment import Augmentation
from jaxssl.augment.recipes import simsiam_views
from jaxssl.errors import checked
from jaxssl.losses.unit_vectors import to_unit
from jaxssl.models.layers.mlp import HeadNorm
from jaxssl.models.pretraining.joint_embedding import Encoder
from jaxssl.objectives.joint_embedding.two_views import Projections, TwoViews


@dataclass(frozen=True)
@checked
class SimSiam(TwoViews):
    """Predicts the embedding of another view, which gets no gradient (Chen & He 2021, section 3)."""

    norm_projections: ClassVar[bool] = True
    """The projector ends with a batch norm."""

    encoder: Encoder
    """Network for images: a `ResNetConfig` or a `VisionTransformerConfig`."""
    views: Augmentation = simsiam_views()
    """Augmentation that makes both views of an image."""
    projector: tuple[int, ...] = (2048, 2048, 2048)
    """Widths of the projector's layers."""
    predictor: tuple[int, ...] = (512, 2048)
    """Widths of the predictor's layers; the last is that of the projections."""
    norm: HeadNorm = "batch"
    """Norm between the layers of both heads; "batch" is over the global batch, one view at a time,
    and there is one more on the projections."""
    stop_gradient: bool = True
    """Whether targets get no gradient; without that the embeddings collapse."""

    def __post_init__(self) -> None:
        self.check_fields(with_predictor=True)

    def compare(self, rows: Projections, weights: Float[Array, " batch"]) -> Float[Array, ""]:
        """Computes minus the mean cosine of predictions and targets in `rows`, `[batch, 2, width]`.

        `weights`, `[batch]`, are those of the images.
        """
        targets = jax.lax.stop_gradient(rows.targets) if self.stop_gradient else rows.targets
        predicted = to_unit(rows.predicted)
        cosines = (predicted * to_unit(targets[:, ::-1])).sum(axis=-1).mean(axis=1)
        return -(weights @ cosines)
