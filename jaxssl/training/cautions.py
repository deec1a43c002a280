"""What a run says before it begins: quantities of its configuration that do not fit each other."""

import math
from typing import Any

import jax

from jaxssl.models.layers.convolution import BatchNorm
from jaxssl.objectives.joint_embedding.teacher import Momentum
from jaxssl.optimizers.recipe import Recipe
from jaxssl.training.config import Pretraining

Tree = Any


def cautions(config: Pretraining, model: Tree) -> list[str]:
    """Describes what of a configuration has another effect than its fields may suggest.

    Args:
      config: Configuration of the run.
      model: Parameters of the network, or their shapes.

    Returns:
      Sentences, each with the names of the fields.
    """
    found = _of_objective(config.objective, config.steps) + _of_microbatches(config, model)
    if isinstance(config.optimizer, Recipe):
        found += [f"optimizer.{line}" for line in config.optimizer.cautions(config.steps, model)]
    return found


def _of_objective(objective: Any, steps: int) -> list[str]:
    """Schedules of the objective that are longer than the run."""
    found = []
    momentum = getattr(objective, "momentum", None)
    if isinstance(momentum, Momentum) and momentum.steps is not None and momentum.steps > steps:
        last = momentum.end - (momentum.end - momentum.start) * _half_cosine(steps / momentum.steps)
        found.append(
            f"objective.momentum.steps={momentum.steps} is beyond steps={steps}: the teacher's momentum "
            f"grows to {last:.4g}, not to {momentum.end:g}; None follows steps"
        )
    for name in ("warmup", "frozen"):  # of DINO
        if (value := getattr(objective, name, 0)) and value >= steps:
            found.append(f"objective.{name}={value} is not over before the run's {steps} steps are")
    return found


def _half_cosine(share: float) -> float:
    return (math.cos(math.pi * share) + 1) / 2


def _of_microbatches(config: Pretraining, model: Tree) -> list[str]:
    """Batch norms of an encoder see one microbatch at a time."""
    encoder = getattr(model, "encoder", None)
    if config.microbatches == 1 or not has_batch_norm(encoder):
        return []
    return [
        f"microbatches={config.microbatches}: the batch norms of objective.encoder normalise over one "
        f"microbatch of {config.data.batch // config.microbatches} rows, so that the gradient is another one "
        "than without microbatches; set objective.encoder.norm to 'group', or microbatches to 1"
    ]


def has_batch_norm(module: Any) -> bool:
    """Returns whether a batch norm is among the modules of `module`."""
    is_norm = [
        isinstance(part, BatchNorm)
        for part in jax.tree.leaves(module, is_leaf=lambda part: isinstance(part, BatchNorm))
    ]
    return any(is_norm)
