"""SimCLR: a view of an image is recognised among the views of all others by another view of the same image.

    z_i, z_i' = projector(encoder(view)) of an image's two views,   t the temperature
    loss      = mean over all 2 n of them of -log(exp(cos(z, z')/t) / sum over the others of exp(cos/t))

Chen et al. 2020, "A simple framework for contrastive learning of visual representations", equation 1. The
projector is trained with and left out of use (section 4.2). Shapes: `two_views.py`.
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Float

from jaxssl import losses
from jaxssl.augment import Augmentation
from jaxssl.augment.recipes import simclr_views
from jaxssl.errors import InputError
from jaxssl.models.layers.mlp import HeadNorm
from jaxssl.models.pretraining.joint_embedding import Encoder, JointEmbedding
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import KeyedImages, Metrics, draw
from jaxssl.objectives.contract import ContrastiveObjective
from jaxssl.objectives.joint_embedding.batch_statistics import first_statistics
from jaxssl.objectives.joint_embedding.two_views import (
    Embeddings,
    check_widths,
    embed_views,
    make_views,
    metrics_of,
    run_heads,
)
from jaxssl.sharding.contrastive import over_all_rows


@dataclass(frozen=True)
class SimCLR(ContrastiveObjective):
    """Contrast two views of every image (Chen et al. 2020)."""

    encoder: Encoder
    views: Augmentation = simclr_views()
    projector: tuple[int, ...] = (2048, 128)  # widths of its layers
    norm: HeadNorm = "layer"  # of the projector; batch: over all views of the global batch
    temperature: float = 0.1
    block_size: int | None = None  # rows at a time; None holds all [2 n, 2 n] cosines

    def __post_init__(self) -> None:
        check_widths("projector", self.projector)
        if self.temperature <= 0:
            raise InputError(f"temperature={self.temperature} must be above 0, e.g. 0.1")
        if self.block_size is not None and self.block_size < 1:
            raise InputError(f"block_size={self.block_size} must be at least 1 row")

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
        return embed_views(model, state, make_views(examples, (self.views, self.views)), key)

    def contrast(
        self, model: JointEmbedding, state: Any, embeddings: Embeddings, examples: KeyedImages
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """The loss over all pairs of the global batch."""
        projected, _, state = run_heads(model, state, embeddings)
        first, second = projected[:, 0], projected[:, 1]
        nats = over_all_rows(
            losses.nt_xent,
            first,
            second,
            examples.weights,
            temperature=self.temperature,
            block_size=self.block_size,
        )
        return nats, (state, metrics_of(nats, examples, first, second))
