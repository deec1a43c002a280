"""BYOL: predict how a slow copy of the network embeds another view of the same image.

    p, p' = predictor(projector(encoder(view))) of an image's two views
    t, t' = the teacher's projections of them;  teacher <- momentum teacher + (1 - momentum) student
    loss  = mean over images of (2 - 2 cos(p, t')) + (2 - 2 cos(p', t))

Grill et al. 2020, "Bootstrap your own latent", section 3. No gradient reaches the teacher, and nothing is
compared with negatives. Shapes: `two_views.py`.
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.models.joint_embedding import (
    Encoder,
    JointEmbedding,
    Norm,
    project,
    project_and_predict,
)
from jaxssl.objectives.batch import Images
from jaxssl.objectives.statistics import first_statistics, moved, statistics_for
from jaxssl.objectives.teacher import Momentum, follow, teacher_of
from jaxssl.objectives.two_views import (
    Examples,
    Metrics,
    check_widths,
    draw,
    halves,
    make_views,
    metrics_of,
    view_flops,
)
from jaxssl.objectives.views import Views
from jaxssl.objectives.views.recipes import byol_views


@dataclass(frozen=True)
class BYOL:
    """Predict a teacher's embedding of another view (Grill et al. 2020, section 3.1)."""

    encoder: Encoder
    views: tuple[Views, Views] = byol_views()
    projector: tuple[int, ...] = (4096, 256)  # widths of its layers
    predictor: tuple[int, ...] = (4096, 256)
    norm: Norm = "batch"  # of projector and predictor; batch: over a microbatch
    momentum: Momentum = Momentum(0.996)  # of the teacher

    def __post_init__(self) -> None:
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

    def corrupt(self, batch: Images, key: Array) -> Examples:
        """Keys of the views; weights are normalised over the global batch."""
        return draw(batch, key)

    def loss(
        self, model: JointEmbedding, state: Any, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """The weighted sum over these images; the targets are not differentiated."""
        views = make_views(examples, *self.views)
        projected, predicted, moments = project_and_predict(
            model, views, key=key, statistics=statistics_for(state, key)
        )
        targets, _ = project(state["teacher"], views)
        (first, second), (target, other) = halves(predicted), halves(targets)
        error = losses.byol(first, other, examples.weights, normalize=False)
        error += losses.byol(second, target, examples.weights, normalize=False)
        metrics = metrics_of(error, examples, *halves(projected))
        return error, (moved(state, moments), metrics)

    def forward_flops(self, spec: Any) -> float:
        """Of one image: both views, and a third for the teacher, which has no backward pass."""
        heads = (*self.projector, *self.predictor)
        return 4 / 3 * sum(view_flops(self.encoder, kind, spec, *heads) for kind in self.views)
