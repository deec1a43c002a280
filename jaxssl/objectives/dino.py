"""DINO: a student predicts from any crop of an image what its teacher makes of another, large crop.

    s = the student's scores of prototypes for each crop of an image,   t = the teacher's for its large crops
    loss    = mean over images and over pairs of different crops of - sum_d p_d log q_d
              p = softmax((t - center) / teacher_temperature),   q = softmax(s / temperature)
    center  <- center_momentum center + (1 - center_momentum) mean of t over the global batch
    teacher <- momentum teacher + (1 - momentum) student

The center prevents that one prototype is chosen for all images; the low temperature of the teacher prevents
that all prototypes are equally likely for all images. In the first steps the teacher's temperature may
rise, and prototypes may keep their directions (both are among the paper's implementation details).

Deviations from the paper, with the reason for each:
  - The projector's kernels are drawn with a variance of 2 / inputs, theirs with a standard deviation of 0.02
    (one class of heads for all joint embeddings).
  - Weight decay does not grow over the run, and there is no stochastic depth (`AdamW` has one decay, and the
    network no such layer).
  - The encoder's positions are those of its configuration, which the recipe sets to theirs: learned, and
    interpolated for small crops (by a bicubic filter with antialiasing, theirs without). Their class token
    has a position, too (it is a learned vector anyway).
  - The teacher's temperature rises at every step, theirs at every epoch.
  - While the prototypes get no gradient, theirs are no part of the optimizer; here its moments stay 0 and its
    count of steps goes on, so that their first steps after that are longer (an objective has no say in the
    optimizer).
  - Prototypes are compared by cosines, so that they have no scale of their own, as in their code by default
    (`norm_last_layer`); their ViT-S was trained with one.
  - Batch norms, where an encoder has them, see the crops of one size of a microbatch.

References:
  Caron et al. 2021, "Emerging properties in self-supervised vision transformers", equations 3 and 4 and
  algorithm 1.

    batch    images                   crops        crops of one size of an image
    width    width of a projection    prototypes   classes of the softmax
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl import losses
from jaxssl.augment import MultiCrop
from jaxssl.augment.recipes import dino_views
from jaxssl.errors import InputError, check_above, check_at_least, check_share, checked
from jaxssl.losses.unit_vectors import to_unit
from jaxssl.models.pretraining.joint_embedding import Encoder, JointEmbedding
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import KeyedImages, Metrics, draw, mean_metrics
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.joint_embedding.batch_statistics import (
    OWN,
    TEACHERS,
    first_statistics,
    statistics_for,
    update_statistics,
)
from jaxssl.objectives.joint_embedding.teacher import Momentum, Teacher, follow, teacher_of
from jaxssl.objectives.joint_embedding.two_views import check_widths, metrics_of


@dataclass(frozen=True)
@checked
class DINO(Objective):
    """Predicts a teacher's choice of prototypes from other crops (Caron et al. 2021, section 3.1)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    encoder: Encoder
    """Network for images: a `ResNetConfig` or a `VisionTransformerConfig`."""
    crops: MultiCrop = dino_views()
    """Large and small crops of an image."""
    projector: tuple[int, ...] = (2048, 2048, 256)
    """Widths of the projector's layers."""
    prototypes: int = 65_536
    """Number of classes of the softmax."""
    temperature: float = 0.1
    """Temperature of the student's softmax, above 0."""
    teacher_temperature: float = 0.04
    """Temperature of the teacher's softmax, above 0, after `warmup` steps."""
    first_temperature: float | None = None
    """Temperature of the teacher's softmax at the first step; None for `teacher_temperature`."""
    warmup: int = 0
    """Steps in which the teacher's temperature rises linearly from the first; 0 for none."""
    frozen: int = 0
    """First steps in which the directions of the prototypes get no gradient; 0 for none."""
    center_momentum: float = 0.9
    """Share of the center that stays at a step, from 0 to below 1."""
    momentum: Momentum = Momentum(0.996)
    """Share of the teacher that stays at every step, and how it grows."""

    def __post_init__(self) -> None:
        check_widths("projector", self.projector)
        large, small = self.crops.large_count, self.crops.small_count
        if large + small < 2:
            raise InputError(
                f"crops.large_count={large} and crops.small_count={small}: a single crop cannot be compared "
                "with another one; set crops.large_count to 2"
            )
        check_at_least(self, 2, "prototypes")
        check_above(self, 0, "temperature", "teacher_temperature", "first_temperature")
        check_at_least(self, 0, "warmup", "frozen")
        check_share(self, "center_momentum")

    def init(self, key: Array, spec: Any) -> JointEmbedding:
        """Makes the student for images as in `spec`, with parameters drawn by `key`."""
        return JointEmbedding(
            key,
            self.encoder,
            spec.channels,
            projector=self.projector,
            prototypes=self.prototypes,
            activation="gelu",
        )

    def init_state(self, model: JointEmbedding) -> Any:
        """Makes the teacher, a copy of `model`, its center, and the sums that the next step needs."""
        teacher = teacher_of(model)
        return {
            "step": jnp.zeros((), jnp.int32),
            "teacher": teacher,
            TEACHERS: first_statistics(teacher),
            "center": jnp.zeros(self.prototypes),
            "outputs": jnp.zeros(self.prototypes),  # mean of the teacher's scores over the batch
            OWN: first_statistics(model),
        }

    def for_run(self, steps: int) -> "DINO":
        """Returns the objective with the momentum of a run of `steps` steps."""
        return replace(self, momentum=self.momentum.for_run(steps))

    def follow(self, state: Any, model: JointEmbedding, step: Int[Array, ""]) -> Any:
        """Moves the teacher in `state` towards `model` and the center towards the scores of this `step`.

        `step` is a scalar, counted from 0.
        """
        old, new = self.center_momentum, 1 - self.center_momentum
        return {
            **state,
            "step": step + 1,
            "teacher": follow(state["teacher"], model, self.momentum.at(step)),
            "center": old * state["center"] + new * state["outputs"],
            "outputs": jnp.zeros_like(state["outputs"]),
        }

    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Gives every image of the global `batch` a random key of its own, made from `key`, and a weight."""
        return draw(batch, key)

    def loss(
        self, model: JointEmbedding, state: Any, examples: KeyedImages, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """Computes the weighted sum of the losses of these images; the teacher gets no gradient.

        Args:
          model: The student.
          state: The teacher, its center, and running statistics of batch norms.
          examples: Images with keys, `[batch, height, width, channels]`.
          key: Random key of dropout; None in evaluation, where batch norms take the running statistics.

        Returns:
          The loss in nats, a scalar, and (the state, metrics by name).
        """
        large, small = self.crops(examples.pixels, examples.keys)
        own, is_frozen = statistics_for(state, key), state["step"] < self.frozen
        seen, scores, moments = _scores(model, large, key, own, is_frozen)
        if self.crops.small_count:
            more = _scores(model, small, key, own, is_frozen)
            seen, scores = (jnp.concatenate(both) for both in ((seen, more[0]), (scores, more[1])))
        teachers = statistics_for(state, key, TEACHERS)
        _, targets, found = _scores(state["teacher"], large, statistics=teachers)
        targets = jax.lax.stop_gradient(targets)
        loss = losses.dino(
            scores,
            targets,
            state["center"],
            examples.weights,
            temperature=self.temperature,
            teacher_temperature=self.temperature_at(state["step"]),
            normalize=False,
        )
        metrics = metrics_of(loss, examples, seen[0], seen[1])
        entropy = examples.weights @ self._entropy(targets, state)
        metrics |= mean_metrics(examples, teacher_entropy=entropy)
        if key is not None:
            outputs = state["outputs"] + examples.weights @ targets.mean(axis=0)
            state = update_statistics({**state, "outputs": outputs}, moments)
            state = update_statistics(state, found, TEACHERS)
        return loss, (state, metrics)

    def temperature_at(self, step: Int[Array, ""] | int) -> Float[Array, ""]:
        """Returns the teacher's temperature at a `step`, a scalar counted from 0."""
        first = self.first_temperature or self.teacher_temperature
        share = jnp.minimum(step / max(self.warmup, 1), 1.0) if self.warmup else jnp.ones(())
        return first + (self.teacher_temperature - first) * share

    def _entropy(self, targets: Array, state: Any) -> Float[Array, " batch"]:
        """Returns the entropy of the teacher's softmax in nats, from 0 (one prototype) to log(prototypes)."""
        temperature = self.temperature_at(state["step"])
        logs = jax.nn.log_softmax((targets - state["center"][None, None]) / temperature)
        return -(jnp.exp(logs) * logs).sum(axis=-1).mean(axis=0)


def _scores(
    parts: JointEmbedding | Teacher,
    crops: Float[Array, "batch crops height width channels"],
    key: Array | None = None,
    statistics: Any = None,
    is_frozen: Bool[Array, ""] | bool = False,
) -> tuple[Float[Array, "crops batch width"], Float[Array, "crops batch prototypes"], Any]:
    """Computes projections of crops of one size, their cosines with prototypes, and batch norms' moments."""
    batch, count = crops.shape[:2]
    own = statistics or {"encoder": None, "projector": None}
    features, encoder = parts.encoder(
        crops.reshape(-1, *crops.shape[2:]), key=key, statistics=own["encoder"]
    )
    projections, projector = parts.projector(features, statistics=own["projector"])
    trained: Any = parts.prototypes
    prototypes = to_unit(trained[...].T).T
    prototypes = jnp.where(is_frozen, jax.lax.stop_gradient(prototypes), prototypes)
    cosines = to_unit(projections) @ prototypes
    seen, scores = (
        jnp.moveaxis(rows.reshape(batch, count, -1), 1, 0) for rows in (projections, cosines)
    )
    return seen, scores, {"encoder": encoder, "projector": projector}
