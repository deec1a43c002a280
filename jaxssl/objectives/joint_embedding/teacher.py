"""A teacher, which is a moving average of the student, and the schedule of its momentum.

    momentum_k = end - (end - start) (cos(pi min(k, steps) / steps) + 1) / 2        after k steps
    teacher    <- momentum teacher + (1 - momentum) student

References:
  Grill et al. 2020, "Bootstrap your own latent" (BYOL), section 3.2.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.errors import InputError, check_at_least, check_share, checked
from jaxssl.objectives.contract import moving_average


class Teacher(NamedTuple):
    """Moving averages of some parts of the student."""

    encoder: Any
    """Average of the encoder."""
    projector: Any
    """Average of the projector."""
    prototypes: Any = None
    """Average of the prototypes, `[width, prototypes]`; None where the student has none."""


@dataclass(frozen=True)
@checked
class Momentum:
    """A momentum that grows along half a period of the cosine."""

    start: float = 0.996
    """Momentum at the first step, from 0 to 1."""
    end: float = 1.0
    """Momentum after `steps` steps, from 0 to 1."""
    steps: int | None = None
    """Steps in which the momentum grows; None for those of the run."""

    def __post_init__(self) -> None:
        check_share(self, "start", "end", one=True)
        check_at_least(self, 1, "steps")

    def for_run(self, steps: int) -> "Momentum":
        """Returns the momentum for a run of `steps` steps.

        Raises:
          InputError: The teacher would stand still from one of these steps on.
        """
        if self.steps is None:
            return replace(self, steps=steps)
        if self.steps < steps and self.end == 1:
            raise InputError(
                f"momentum.steps={self.steps} is below steps={steps}: with momentum.end=1 the teacher would "
                f"stand still from step {self.steps} on; set momentum.steps to None, so that it follows steps"
            )
        return self

    def at(self, step: Int[Array, ""] | int) -> Float[Array, ""]:
        """Returns the momentum of a `step`, a scalar counted from 0, for an objective `for_run`."""
        if self.steps is None:
            raise InputError("momentum.steps=None: call for_run(steps) of the objective first")
        share = jnp.minimum(step / self.steps, 1.0)
        return self.end - (self.end - self.start) * (jnp.cos(jnp.pi * share) + 1) / 2


def teacher_of(model: Any) -> Teacher:
    """Makes a teacher that is a copy of the parts of the student `model`."""
    return jax.tree.map(jnp.copy, _parts(model))


def follow(teacher: Teacher, model: Any, momentum: Float[Array, ""]) -> Teacher:
    """Moves every parameter of the `teacher` towards that of the student `model`.

    `momentum`, a scalar, is the share of the teacher that stays.
    """
    return moving_average(teacher, _parts(model), momentum)


def _parts(model: Any) -> Teacher:
    return Teacher(model.encoder, model.projector, model.prototypes)
