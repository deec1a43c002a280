"""Searches the fastest step that fits: what layers keep for the backward pass (`remat`), and microbatches.

Keeping less leaves room for larger microbatches and costs a second computation. Which wins depends on the
network, the chip and the mesh, so that every policy is compiled with the largest microbatch that fits.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from jaxssl.errors import InputError
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.planning import refusals
from jaxssl.planning.plan import Plan, largest_microbatch, make_plan
from jaxssl.planning.targets import Target
from jaxssl.training.config import Pretraining

POLICIES = ("activations", "inputs")  # "scores" is for CPUs


@dataclass(frozen=True)
class Attempt:
    """A policy with the largest microbatch that fits."""

    remat: str
    """What layers keep; empty for a network without layers of a transformer."""
    config: Pretraining | None
    """The configuration that fits; None if none does."""
    seconds: float | None
    """Forecast of a step, or its shortest possible time where there is no forecast; None if not known."""

    @property
    def in_words(self) -> str:
        """The attempt as a line of a report."""
        name = f"remat {self.remat}" if self.remat else "as it is"
        if self.config is None:
            return f"{name}: does not fit"
        time = "time not known" if self.seconds is None else f"{self.seconds * 1e3:.2f} ms a step"
        return f"{name}: {self.config.microbatches} microbatches, {time}"


def fastest(config: Pretraining, target: Target, **rows: Any) -> tuple[Pretraining, list[Attempt]]:
    """Finds the policy of `remat` and the number of microbatches of the fastest step that fits into memory.

    Args:
      config: Configuration of the run; its `microbatches` and `remat` have no effect.
      target: The devices.
      **rows: Shape of the rows: `length`, `vocab_size` and `size`, as for `make_plan`.

    Returns:
      The configuration of the fastest attempt, or of the one that keeps most where times are not known; and
      all attempts.

    Raises:
      InputError: Nothing fits, or the step cannot be compiled.
    """
    policies = POLICIES if refusals.networks(config.objective) else ("",)
    attempts, refused = [], None
    for policy in policies:
        candidate = with_remat(config, policy) if policy else config
        try:
            found = largest_microbatch(candidate, target, **rows)
        except refusals.DoesNotFit as error:
            refused = error
            attempts.append(Attempt(policy, None, None))
            continue
        attempts.append(Attempt(policy, found, seconds_of(make_plan(found, target, **rows))))
    fitting = [attempt for attempt in attempts if attempt.config is not None]
    if not fitting:
        assert refused is not None
        raise refused
    best = min(fitting, key=lambda attempt: attempt.seconds or 0.0)
    assert best.config is not None
    return best.config, attempts


def with_remat(config: Pretraining, policy: str) -> Pretraining:
    """Returns a configuration whose transformers, also those inside others, keep what a policy says.

    Args:
      config: Configuration of the run.
      policy: A value of `remat`.

    Raises:
      InputError: The objective has no transformer.
    """
    objective = _with_remat(config.objective, policy)
    if objective is config.objective:
        raise InputError(
            f"{type(objective).__name__} has no transformer, so that remat has no effect"
        )
    return dataclasses.replace(config, objective=objective)


def _with_remat(value: Any, policy: str) -> Any:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    if isinstance(value, TransformerConfig):
        return dataclasses.replace(value, remat=policy)  # type: ignore[arg-type]
    parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    changed = {name: _with_remat(part, policy) for name, part in parts.items()}
    changed = {name: part for name, part in changed.items() if part is not parts[name]}
    return dataclasses.replace(value, **changed) if changed else value


def seconds_of(plan: Plan) -> float | None:
    """Returns the seconds of a step of a `plan`: the forecast, else the roofline, else None."""
    measured = plan.measured
    if measured is None:
        return None
    if measured.forecast is not None:
        return measured.forecast.seconds
    return None if measured.estimate is None else measured.estimate.step
