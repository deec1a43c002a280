"""A teacher that is a slow copy of the student, and how slow it is.

    momentum_k = end - (end - start) (cos(pi k / steps) + 1) / 2        k steps done, at most `steps`
    teacher    <- momentum teacher + (1 - momentum) student

Grill et al. 2020 (BYOL), section 3.2.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.errors import InputError
from jaxssl.objectives.contract import moving_average


class Teacher(NamedTuple):
    """The parts of the student that have a slow copy."""

    encoder: Any
    projector: Any
    prototypes: Any = None


@dataclass(frozen=True)
class Momentum:
    """Grows along half a wave of the cosine."""

    start: float = 0.996  # at the first step …
    end: float = 1.0  # … up to this
    steps: int = 100_000  # in so many steps: those of the run

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)} must lie in [0, 1], e.g. 0.996")
        if self.steps < 1:
            raise InputError(f"steps={self.steps} must be at least 1")

    def at(self, step: Int[Array, ""] | int) -> Float[Array, ""]:
        """The momentum of a step, counted from 0."""
        share = jnp.minimum(step / self.steps, 1.0)
        return self.end - (self.end - self.start) * (jnp.cos(jnp.pi * share) + 1) / 2


def teacher_of(model: Any) -> Teacher:
    """A copy of the student's parts."""
    return jax.tree.map(jnp.copy, _parts(model))


def follow(teacher: Teacher, model: Any, momentum: Float[Array, ""]) -> Teacher:
    """The teacher a little nearer to the student."""
    return moving_average(teacher, _parts(model), momentum)


def _parts(model: Any) -> Teacher:
    return Teacher(model.encoder, model.projector, model.prototypes)
