"""Barlow Twins: each feature of a view tells the same feature of the other view, and no other feature.

    C    = correlation of the features of the first views with those of the second, dim x dim, over n images
    loss = sum_d (1 - C_dd)^2 + off_diagonal_weight * sum_{d != e} C_de^2

Zbontar et al. 2021, "Barlow Twins", equations 1 and 2. Nothing is compared with negatives, and nothing is
held fixed; a constant feature has no correlation with itself. Shapes: `two_views.py`.
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Float

from jaxssl import losses
from jaxssl.augment import Augmentation
from jaxssl.augment.recipes import byol_views
from jaxssl.errors import InputError
from jaxssl.models.layers.mlp import HeadNorm
from jaxssl.models.pretraining.joint_embedding import Encoder, JointEmbedding
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import KeyedImages, Metrics, draw
from jaxssl.objectives.contract import ContrastiveObjective
from jaxssl.objectives.joint_embedding.batch_statistics import first_statistics
from jaxssl.objectives.joint_embedding.two_views import (
    Embeddings,
    check_sizes,
    check_widths,
    embed_views,
    make_views,
    metrics_of,
    run_heads,
)


@dataclass(frozen=True)
class BarlowTwins(ContrastiveObjective):
    """Make the correlation of two views the identity (Zbontar et al. 2021, section 2)."""

    encoder: Encoder
    views: tuple[Augmentation, Augmentation] = byol_views()
    projector: tuple[int, ...] = (8192, 8192, 8192)  # widths of its layers
    norm: HeadNorm = "batch"  # of the projector; batch: over all views of the global batch
    off_diagonal_weight: float = 5e-3

    def __post_init__(self) -> None:
        check_sizes(self.views)
        check_widths("projector", self.projector)
        if self.off_diagonal_weight < 0:
            raise InputError(f"off_diagonal_weight={self.off_diagonal_weight} must not be negative")

    def init(self, key: Array, spec: Any) -> JointEmbedding:
        """Encoder and projector, for images as `spec` describes them."""
        return JointEmbedding(
            key, self.encoder, spec.channels, projector=self.projector, norm=self.norm
        )

    def init_state(self, model: JointEmbedding) -> Any:
        """Running statistics of batch norms."""
        return {"statistics": first_statistics(model)}

    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Keys of the views; weights are normalised over the global batch."""
        return draw(batch, key)

    def embed(
        self, model: JointEmbedding, state: Any, examples: KeyedImages, key: Array | None
    ) -> Embeddings:
        """Features of both views of every image."""
        return embed_views(model, state, make_views(examples, self.views), key)

    def contrast(
        self, model: JointEmbedding, state: Any, embeddings: Embeddings, examples: KeyedImages
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """The loss on the correlation over the global batch."""
        projected, _, state = run_heads(model, state, embeddings)
        first, second = projected[:, 0], projected[:, 1]
        loss = losses.barlow_twins(
            first, second, examples.weights, off_diagonal_weight=self.off_diagonal_weight
        )
        return loss, (state, metrics_of(loss, examples, first, second))
