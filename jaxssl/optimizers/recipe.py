"""What all configurations of optimizers share: schedule, clipping, and the mask of the weight decay."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import jax
import optax

from jaxssl.errors import check_above, check_at_least, check_share, checked
from jaxssl.optimizers.host_moments import OnHost
from jaxssl.optimizers.narrow_moments import in_bfloat16
from jaxssl.sharding.layout import path_of

Tree = Any
Schedule = Literal["cosine", "linear", "constant", "warmup_stable_decay"]
NO_DECAY = re.compile(r"(bias|scale)$")  # paths of parameters without weight decay


@dataclass(frozen=True)
@checked
class Recipe:
    """The fields that all optimizers share, and how they are put together.

    This base class is abstract: use AdamW, Lamb, Lars, Sgd, Lion, Adafactor or Muon, or define a
    subclass with a `transform` of its own.
    """

    peak: float = 5e-4
    """Learning rate at its peak, after the warm-up."""
    warmup: int = 1_000
    """Steps in which the learning rate rises linearly from 0 to the peak. More than a tenth of the run is cut
    to that, and the run says so. 0 starts at the peak."""
    schedule: Schedule = "linear"
    """Course of the learning rate after the warm-up: "linear" or "cosine" decay to `final`, "constant",
    or "warmup_stable_decay", which is constant until `stable` and then decays linearly."""
    final: float = 0.0
    """Learning rate at the last step, as a fraction of the peak; "constant" ignores it."""
    stable: float = 0.8
    """Fraction of the run's steps after which "warmup_stable_decay" begins to decay."""
    decay: float = 0.01
    """Weight decay per unit of learning rate: kernels and embeddings shrink by rate * decay per step.
    Biases and the scales of norms do not decay."""
    clip: float = 1.0
    """Upper limit of the norm of the whole gradient, which is scaled down to it; 0 means no clipping."""
    moments: Literal["float32", "bfloat16"] = "float32"
    """Type in which the optimizer's state is stored; "bfloat16" halves its memory (narrow_moments.py)."""
    host_moments: bool = False
    """Whether the optimizer's state is kept in the host's memory between updates, to save memory of the
    device; on TPUs and GPUs only (host_moments.py)."""

    def __post_init__(self) -> None:
        check_above(self, 0, "peak")
        check_at_least(self, 0, "warmup", "decay", "clip")
        check_share(self, "final", "stable", one=True)

    def warmup_of(self, steps: int) -> int:
        """Returns the steps in which the learning rate rises in a run of `steps` steps."""
        return min(self.warmup, max(steps // 10, 1))

    def cautions(self, steps: int, model: Tree) -> list[str]:
        """Describes what has another effect than the fields may suggest, beginning with a field.

        Args:
          steps: Steps of the run.
          model: Pytree of the parameters, or of their shapes.
        """
        if (used := self.warmup_of(steps)) == self.warmup:
            return []
        return [f"warmup={self.warmup} is cut to {used}, a tenth of the run's {steps} steps"]

    def rate(self, steps: int) -> optax.Schedule:
        """Returns the learning rate as a function of the step, counted from 0, for a run of `steps` steps."""
        warmup = self.warmup_of(steps)
        after = max(steps - warmup, 1)
        low = self.final * self.peak
        match self.schedule:
            case "constant":
                main = optax.constant_schedule(self.peak)
            case "linear":
                main = optax.linear_schedule(self.peak, low, after)
            case "cosine":
                main = optax.cosine_decay_schedule(self.peak, after, alpha=self.final)
            case _:
                hold = max(int(self.stable * steps) - warmup, 0)
                fall = optax.linear_schedule(self.peak, low, max(after - hold, 1))
                main = optax.join_schedules([optax.constant_schedule(self.peak), fall], [hold])
        if not warmup:
            return main
        return optax.join_schedules([optax.linear_schedule(0.0, self.peak, warmup), main], [warmup])

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        """Returns the update rule itself, without clipping; each optimizer defines it.

        Args:
          rate: Learning rate as a function of the step.
        """
        raise NotImplementedError

    def make(self, steps: int) -> optax.GradientTransformation:
        """Returns the whole optimizer for a run of `steps` steps: clipping, update rule and schedule."""
        clip = [optax.clip_by_global_norm(self.clip)] if self.clip else []
        optimizer = optax.chain(*clip, self.transform(self.rate(steps)))
        optimizer = optimizer if self.moments == "float32" else in_bfloat16(optimizer)
        return OnHost(*optimizer) if self.host_moments else optimizer


def decays(model: Tree) -> Tree:
    """Returns which parameters weight decay applies to: kernels and embeddings, not biases and scales.

    Args:
      model: Pytree of the parameters.

    Returns:
      Pytree of the same structure with a bool for each parameter.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: NO_DECAY.search(path_of(path)) is None, model
    )
