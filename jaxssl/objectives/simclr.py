"""SimCLR: recognise a view of an image among the views of all other images by another view of the same image.

    z_i, z_i' = projector(encoder(view)) of the two views of image i,   t the temperature
    loss      = mean over all 2 n embeddings z of  -log(exp(cos(z, z') / t) / sum_{y != z} exp(cos(z, y) / t))

where z' is the other view of the same image. The projector is trained and then left out of use (section 4.2).

Deviations from the paper, with the reason for each:
  - The projector's hidden layers have layer norms by default; the paper's equation has none, and the authors'
    code has batch norms over all devices, and one more, without a shift, on the projections. `norm="batch"`
    gives the former (a layer norm needs no running statistics, and no view can be recognised by the moments
    of its batch).
  - The last layer of the projector has a bias; in their code it has none (it starts at 0).
  - The losses of the two views are averaged, as in the paper; their code adds them. Under LARS this only
    halves the steps of biases and norms.
  - Views are resized by a bilinear filter; theirs is bicubic, which the paper does not say.
  - What all objectives on two views share: `joint_embedding/two_views.py`.

References:
  Chen et al. 2020, "A simple framework for contrastive learning of visual representations", equation 1.

Shapes: `joint_embedding/two_views.py`.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Array, Float

from jaxssl import losses
from jaxssl.augment import Augmentation
from jaxssl.augment.recipes import simclr_views
from jaxssl.errors import check_above, check_at_least, checked
from jaxssl.models.layers.mlp import HeadNorm
from jaxssl.models.pretraining.joint_embedding import Encoder
from jaxssl.objectives.joint_embedding.two_views import Projections, TwoViews
from jaxssl.sharding.contrastive import over_all_rows


@dataclass(frozen=True)
@checked
class SimCLR(TwoViews):
    """Contrasts two views of every image with the views of all others (Chen et al. 2020)."""

    views_apart: ClassVar[bool] = False
    """Batch norms take both views together."""

    encoder: Encoder
    """Network for images: a `ResNetConfig` or a `VisionTransformerConfig`."""
    views: Augmentation = simclr_views()
    """Augmentation that makes both views of an image."""
    projector: tuple[int, ...] = (2048, 128)
    """Widths of the projector's layers; the last is that of the embeddings."""
    norm: HeadNorm = "layer"
    """Norm between the projector's layers; "batch" normalises over all views of the global batch."""
    temperature: float = 0.1
    """Divisor of the cosines, above 0."""
    block_size: int | None = None
    """Rows of the matrix of cosines that are computed at a time; None holds all `[2 n, 2 n]`."""

    def __post_init__(self) -> None:
        self.check_fields()
        check_above(self, 0, "temperature")
        check_at_least(self, 1, "block_size")

    def compare(self, rows: Projections, weights: Float[Array, " batch"]) -> Float[Array, ""]:
        """Computes NT-Xent of the projections in `rows`, `[batch, 2, width]`, under `weights`, `[batch]`."""
        return over_all_rows(
            losses.nt_xent,
            rows.projected[:, 0],
            rows.projected[:, 1],
            weights,
            temperature=self.temperature,
            block_size=self.block_size,
        )
