"""A training state that is as small as can be."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """A step and a model of one array."""

    step: jax.Array
    model: dict[str, jax.Array]


def state(step: int) -> State:
    """The state after a step: all parameters have its number as their value."""
    return State(jnp.int32(step), {"kernel": jnp.full((4,), float(step))})
