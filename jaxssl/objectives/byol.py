"""BYOL: predict how a slow copy of the network embeds another view of the same image.

    p, p' = predictor(projector(encoder(view))) of an image's two views
    t, t' = the teacher's projections of them;  teacher <- momentum teacher + (1 - momentum) student
    loss  = mean over images of (2 - 2 cos(p, t')) + (2 - 2 cos(p', t))

Grill et al. 2020, "Bootstrap your own latent", section 3. No gradient reaches the teacher, and nothing is
compared with negatives. Shapes: `two_views.py`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.augment import Augmentation
from jaxssl.augment.recipes import byol_views
from jaxssl.models.layers.mlp import HeadNorm
from jaxssl.models.pretraining.joint_embedding import Encoder, JointEmbedding
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import KeyedImages, Metrics, draw
from jaxssl.objectives.contract import ContrastiveObjective
from jaxssl.objectives.joint_embedding import two_views
from jaxssl.objectives.joint_embedding.batch_statistics import first_statistics
from jaxssl.objectives.joint_embedding.teacher import Momentum, follow, teacher_of
from jaxssl.objectives.joint_embedding.two_views import (
    Pairs,
    check_sizes,
    check_widths,
    embed_views,
    in_pairs,
    make_views,
    metrics_of,
    run_head,
    run_heads,
)


class Embeddings(NamedTuple):
    """What each row gives: features of its two views by both networks."""

    student: two_views.Embeddings
    teacher: Pairs


@dataclass(frozen=True)
class BYOL(ContrastiveObjective):
    """Predict a teacher's embedding of another view (Grill et al. 2020, section 3.1)."""

    encoder: Encoder
    views: tuple[Augmentation, Augmentation] = byol_views()
    projector: tuple[int, ...] = (4096, 256)  # widths of its layers
    predictor: tuple[int, ...] = (4096, 256)
    norm: HeadNorm = "batch"  # of both heads; batch: over all views of the global batch
    momentum: Momentum = Momentum(0.996)  # of the teacher

    def __post_init__(self) -> None:
        check_sizes(self.views)
        check_widths("projector", self.projector)
        check_widths("predictor", self.predictor, last=self.projector[-1])

    def init(self, key: Array, spec: Any) -> JointEmbedding:
        """The student, for images as `spec` describes them."""
        return JointEmbedding(
            key,
            self.encoder,
            spec.channels,
            projector=self.projector,
            predictor=self.predictor,
            norm=self.norm,
        )

    def init_state(self, model: JointEmbedding) -> Any:
        """The teacher, which begins as the student, and running statistics of batch norms."""
        return {"teacher": teacher_of(model), "statistics": first_statistics(model)}

    def follow(self, state: Any, model: JointEmbedding, step: Int[Array, ""]) -> Any:
        """The teacher comes a little nearer to the student."""
        return {**state, "teacher": follow(state["teacher"], model, self.momentum.at(step))}

    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Keys of the views; weights are normalised over the global batch."""
        return draw(batch, key)

    def embed(
        self, model: JointEmbedding, state: Any, examples: KeyedImages, key: Array | None
    ) -> Embeddings:
        """Features of both views of every image; the teacher's batch norms always take those at hand."""
        views = make_views(examples, self.views)
        features, _ = state["teacher"].encoder(views)
        targets = jax.lax.stop_gradient(in_pairs(features))
        return Embeddings(embed_views(model, state, views, key), targets)

    def contrast(
        self, model: JointEmbedding, state: Any, embeddings: Embeddings, examples: KeyedImages
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """The weighted sum over the global batch; the targets are not differentiated."""
        projected, predicted, state = run_heads(model, state, embeddings.student)
        targets, _ = run_head(state["teacher"].projector, embeddings.teacher)
        first, second = (
            losses.byol(predicted[:, i], targets[:, 1 - i], examples.weights, normalize=False)
            for i in range(2)
        )
        error = first + second
        return error, (state, metrics_of(error, examples, projected[:, 0], projected[:, 1]))
