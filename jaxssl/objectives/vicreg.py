"""VICReg: two views are embedded alike, each feature varies over images, and no two vary together.

    loss = 25 mean (z - z')^2 + 25 mean_d max(0, 1 - deviation_d) + sum_{d != e} covariance_de^2 / dim

The last two are of either view by itself (their halves and sums: `losses.vicreg`). Bardes et al. 2022,
"VICReg", equations 1 to 6. Shapes: `two_views.py`.
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
class VICReg(ContrastiveObjective):
    """Invariance, variance and covariance of two views (Bardes et al. 2022, section 4.1)."""

    encoder: Encoder
    views: tuple[Augmentation, Augmentation] = byol_views()
    projector: tuple[int, ...] = (8192, 8192, 8192)  # widths of its layers
    norm: HeadNorm = "batch"  # of the projector; batch: over all views of the global batch
    invariance_weight: float = 25.0
    variance_weight: float = 25.0
    covariance_weight: float = 1.0

    def __post_init__(self) -> None:
        check_sizes(self.views)
        check_widths("projector", self.projector)
        for name in ("invariance_weight", "variance_weight", "covariance_weight"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)} must not be negative")

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
        """The loss on the statistics of the global batch."""
        projected, _, state = run_heads(model, state, embeddings)
        first, second = projected[:, 0], projected[:, 1]
        loss = losses.vicreg(
            first,
            second,
            examples.weights,
            invariance_weight=self.invariance_weight,
            variance_weight=self.variance_weight,
            covariance_weight=self.covariance_weight,
        )
        return loss, (state, metrics_of(loss, examples, first, second))
