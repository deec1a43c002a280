"""SimSiam: predict how the same network, held fixed, embeds another view of the same image.

    z, z' = projector(encoder(view)) of an image's two views,   p = predictor(z)
    loss  = - mean over images of (cos(p, stop_gradient(z')) + cos(p', stop_gradient(z))) / 2

Chen & He 2021, "Exploring simple siamese representation learning", equations 1 to 4. With
`stop_gradient=False` (their figure 2) all embeddings become one and the loss -1. Shapes: `two_views.py`.
"""

from dataclasses import dataclass
from typing import Any

import jax
from jaxtyping import Array, Float

from jaxssl.augment import Augmentation
from jaxssl.augment.recipes import simclr_views
from jaxssl.losses.unit_vectors import to_unit
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


@dataclass(frozen=True)
class SimSiam(ContrastiveObjective):
    """Predict the embedding of another view, which is held fixed (Chen & He 2021, section 3)."""

    encoder: Encoder
    views: Augmentation = simclr_views()
    projector: tuple[int, ...] = (2048, 2048, 2048)  # widths of its layers
    predictor: tuple[int, ...] = (512, 2048)
    norm: HeadNorm = "batch"  # of both heads; batch: over all views of the global batch
    stop_gradient: bool = True  # False: it collapses

    def __post_init__(self) -> None:
        check_widths("projector", self.projector)
        check_widths("predictor", self.predictor, last=self.projector[-1])

    def init(self, key: Array, spec: Any) -> JointEmbedding:
        """Encoder, projector and predictor, for images as `spec` describes them."""
        return JointEmbedding(
            key,
            self.encoder,
            spec.channels,
            projector=self.projector,
            predictor=self.predictor,
            norm=self.norm,
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
        """The weighted sum over the global batch."""
        projected, predicted, state = run_heads(model, state, embeddings)
        targets = jax.lax.stop_gradient(projected) if self.stop_gradient else projected
        cosines = (to_unit(predicted) * to_unit(targets[:, ::-1])).sum(axis=-1).mean(axis=1)
        loss = -(examples.weights @ cosines)
        return loss, (state, metrics_of(loss, examples, projected[:, 0], projected[:, 1]))
