"""Finds numbers that are not finite: in the metrics of a step, and in a state before it is saved."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxssl.errors import InputError
from jaxssl.runs.checkpoint_folders import complete_steps, move_aside
from jaxssl.sharding.layout import path_of


class NotFinite(InputError):
    """The loss, the norm of the gradient or the state of a step is infinite or not a number."""


def not_finite(state: Any) -> str | None:
    """Returns the path of an array with a number that is not finite, or None if all are finite.

    Args:
      state: Pytree of arrays. Those that are kept in the host's memory are not looked at.
    """
    leaves = {
        path_of(keys): leaf
        for keys, leaf in jax.tree_util.tree_leaves_with_path(state)
        if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.sharding.memory_kind != "pinned_host"
    }
    found = jax.device_get(_are_finite(leaves))
    return min((path for path, is_finite in found.items() if not is_finite), default=None)


@jax.jit
def _are_finite(leaves: dict[str, Array]) -> dict[str, Bool[Array, ""]]:
    return {path: jnp.isfinite(leaf).all() for path, leaf in leaves.items()}


def check_finite(state: Any, checkpoints: Path) -> None:
    """Checks a state before it is saved.

    Args:
      state: State of the run, with a field `step`.
      checkpoints: Folder of the run's checkpoints, for the error message.

    Raises:
      NotFinite: An array holds a number that is not finite.
    """
    if path := not_finite(state):
        raise NotFinite(
            f"{path} is not finite after step {int(state.step):,}, which is not saved; "
            f"{advice(checkpoints)}"
        )


def advice(checkpoints: Path) -> str:
    """Returns how to go on after a number that is not finite, as the end of an error message.

    Args:
      checkpoints: Folder of the run's checkpoints; all that are there have been saved before the number.
    """
    steps = complete_steps(checkpoints)
    if not steps:
        return "nothing is saved yet: lower the optimizer's peak or clip harder, and start again"
    text = (
        f"the last checkpoint, of step {steps[-1]:,}, is from before: lower the optimizer's peak or "
        "clip harder, and start again to go on from it"
    )
    if len(steps) > 1:
        moved = move_aside(checkpoints / str(steps[-1]))
        text += f"; if that fails again, go on from step {steps[-2]:,} instead, after: {moved}"
    return text
