"""BYOL: predict how a slowly moving copy of the network embeds another view of the same image.

    p, p' = predictor(projector(encoder(view))) of the two views of an image
    t, t' = the teacher's projections of the same views
    loss  = mean over images of  (2 - 2 cos(p, t')) + (2 - 2 cos(p', t))
    after every step:  teacher <- momentum teacher + (1 - momentum) student

No gradient reaches the teacher, and no image is compared with another one.

Deviations from the paper, with the reason for each:
  - The last layers of projector and predictor have biases; in the authors' code they have none (a single
    class of heads; they start at 0).
  - The teacher starts as a copy of the student; in the authors' code its parameters are drawn by themselves.
  - No classifier is trained beside it; theirs reads the features without gradient (the online probe of a run
    does that).
  - What all objectives on two views share: `joint_embedding/two_views.py`.

References:
  Grill et al. 2020, "Bootstrap your own latent", section 3.

Shapes: `joint_embedding/two_views.py`.
"""

from dataclasses import dataclass

from jaxtyping import Array, Float

from jaxssl import losses
from jaxssl.augment import Augmentation
from jaxssl.augment.recipes import byol_views
from jaxssl.errors import checked
from jaxssl.models.layers.mlp import HeadNorm
from jaxssl.models.pretraining.joint_embedding import Encoder
from jaxssl.objectives.joint_embedding.teacher import Momentum
from jaxssl.objectives.joint_embedding.two_views import Projections, TwoViews


@dataclass(frozen=True)
@checked
class BYOL(TwoViews):
    """Predicts a teacher's embedding of another view (Grill et al. 2020, section 3.1)."""

    encoder: Encoder
    """Network for images: a `ResNetConfig` or a `VisionTransformerConfig`."""
    views: tuple[Augmentation, Augmentation] = byol_views()
    """Augmentations of the first and of the second view, of the same size."""
    projector: tuple[int, ...] = (4096, 256)
    """Widths of the projector's layers."""
    predictor: tuple[int, ...] = (4096, 256)
    """Widths of the predictor's layers; the last is that of the projections."""
    norm: HeadNorm = "batch"
    """Norm between the layers of both heads; "batch" is over the global batch, one view at a time."""
    momentum: Momentum = Momentum(0.996)
    """Share of the teacher that stays at every step, and how it grows."""

    def __post_init__(self) -> None:
        self.check_fields(with_predictor=True)

    def compare(self, rows: Projections, weights: Float[Array, " batch"]) -> Float[Array, ""]:
        """Computes the error of the predictions in `rows`, `[batch, 2, width]`, under `weights`, `[batch]`.

        Each prediction is compared with the target of the other view.
        """
        first, second = (
            losses.byol(rows.predicted[:, i], rows.targets[:, 1 - i], weights, normalize=False)
            for i in range(2)
        )
        return first + second
