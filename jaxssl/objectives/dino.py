"""DINO: a student that sees any crop agrees with its teacher, a slow copy that sees another large crop.

    s = the student's scores of prototypes for each crop of an image,   t the teacher's for its large crops
    loss    = mean over images and pairs of different crops of - sum_d p_d log q_d
              p = softmax((t - center) / teacher_temperature),   q = softmax(s / temperature)
    center  <- center_momentum center + (1 - center_momentum) mean of t over the global batch
    teacher <- momentum teacher + (1 - momentum) student

Caron et al. 2021, "Emerging properties in self-supervised vision transformers", equations 3 and 4 and
algorithm 1. Centring keeps one prototype from taking all, the low temperature keeps all from being alike. At
first the teacher's temperature may rise, and the prototypes stay as they are (their implementation details).

    batch    images             large, small   crops of an image
    width    of a projection    prototypes     dimensions of the softmax
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl import losses
from jaxssl.augment import MultiCrop
from jaxssl.augment.recipes import dino_views
from jaxssl.errors import InputError
from jaxssl.losses.unit_vectors import to_unit
from jaxssl.models.pretraining.joint_embedding import Encoder, JointEmbedding
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import KeyedImages, Metrics, draw, mean_metrics
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.joint_embedding.batch_statistics import (
    first_statistics,
    moved,
    statistics_for,
)
from jaxssl.objectives.joint_embedding.teacher import Momentum, Teacher, follow, teacher_of
from jaxssl.objectives.joint_embedding.two_views import check_widths, metrics_of


@dataclass(frozen=True)
class DINO(Objective):
    """Agree with a teacher over crops (Caron et al. 2021, section 3.1)."""

    encoder: Encoder
    crops: MultiCrop = dino_views()
    projector: tuple[int, ...] = (2048, 2048, 256)  # widths of its layers
    prototypes: int = 65_536
    temperature: float = 0.1
    teacher_temperature: float = 0.04
    first_temperature: float | None = None  # the teacher's, to begin with …
    warmup: int = 0  # … in so many steps up to the other, on a straight line
    frozen: int = 0  # steps, at first, in which prototypes do not turn
    center_momentum: float = 0.9
    momentum: Momentum = Momentum(0.996)  # of the teacher

    def __post_init__(self) -> None:
        check_widths("projector", self.projector)
        if self.crops.large_count + self.crops.small_count < 2:
            raise InputError("one crop has none to agree with; set crops.large_count=2")
        if self.prototypes < 2:
            raise InputError(f"prototypes={self.prototypes} must be at least 2")
        for name in ("temperature", "teacher_temperature", "first_temperature"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise InputError(f"{name}={value} must be above 0, e.g. 0.04")
        for name in ("warmup", "frozen"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)} must not be negative; 0 is none")
        if not 0 <= self.center_momentum < 1:
            raise InputError(f"center_momentum={self.center_momentum} must lie in [0, 1)")

    def init(self, key: Array, spec: Any) -> JointEmbedding:
        """The student, for images as `spec` describes them."""
        return JointEmbedding(
            key,
            self.encoder,
            spec.channels,
            projector=self.projector,
            prototypes=self.prototypes,
        )

    def init_state(self, model: JointEmbedding) -> Any:
        """The teacher, its center, and what the step adds up for the next one."""
        return {
            "step": jnp.zeros((), jnp.int32),
            "teacher": teacher_of(model),
            "center": jnp.zeros(self.prototypes),
            "outputs": jnp.zeros(self.prototypes),  # mean of the teacher's over the global batch
            "statistics": first_statistics(model),
        }

    def follow(self, state: Any, model: JointEmbedding, step: Int[Array, ""]) -> Any:
        """Teacher and center a step further; the sum over microbatches begins anew."""
        old, new = self.center_momentum, 1 - self.center_momentum
        return {
            **state,
            "step": step + 1,
            "teacher": follow(state["teacher"], model, self.momentum.at(step)),
            "center": old * state["center"] + new * state["outputs"],
            "outputs": jnp.zeros_like(state["outputs"]),
        }

    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Keys of the crops; weights are normalised over the global batch."""
        return draw(batch, key)

    def loss(
        self, model: JointEmbedding, state: Any, examples: KeyedImages, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """The weighted sum over these images; the teacher is not differentiated."""
        large, small = self.crops(examples.pixels, examples.keys)
        own, is_frozen = statistics_for(state, key), state["step"] < self.frozen
        seen, scores, moments = _scores(model, large, key, own, is_frozen)
        if self.crops.small_count:
            more = _scores(model, small, key, own, is_frozen)
            seen, scores = (jnp.concatenate(both) for both in ((seen, more[0]), (scores, more[1])))
        targets = jax.lax.stop_gradient(_scores(state["teacher"], large)[1])
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
            state = moved({**state, "outputs": outputs}, moments)
        return loss, (state, metrics)

    def temperature_at(self, step: Int[Array, ""] | int) -> Float[Array, ""]:
        """The teacher's temperature at a step, counted from 0."""
        first = self.first_temperature or self.teacher_temperature
        share = jnp.minimum(step / max(self.warmup, 1), 1.0) if self.warmup else jnp.ones(())
        return first + (self.teacher_temperature - first) * share

    def _entropy(self, targets: Array, state: Any) -> Float[Array, " batch"]:
        """Nats of the teacher's choices: log(prototypes) where all are alike, 0 where one takes all."""
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
    """Projections of crops of one size, their cosines with prototypes, and moments of batch norms."""
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
