"""Running statistics of batch norms, which an objective carries in its state for evaluation and later use.

A training step normalises by the moments of its own batch, and moves the running statistics a tenth of the
way towards them. Evaluation, which passes no random key, normalises by the running statistics. The statistics
of a network without batch norms have no leaves.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxssl.objectives.contract import moving_average

DECAY = 0.9  # share of the running statistics that stays at a step
OWN, TEACHERS = "statistics", "teacher_statistics"  # names of the statistics in the state


def first_statistics(model: Any) -> Any:
    """Returns the statistics of a new `model` or teacher, mean 0 and variance 1, by the name of its part."""
    parts = ("encoder", "projector", "predictor")
    found = {name: getattr(model, name, None) for name in parts}
    return {name: part.first_statistics() for name, part in found.items() if part is not None}


def statistics_for(state: Any, key: Array | None, of: str = OWN) -> Any:
    """Returns the running statistics of `state` in evaluation, where `key` is None, and None in training.

    `of` says whose: `OWN`, the network's that is trained, or `TEACHERS`.
    """
    return state[of] if key is None else None


def update_statistics(state: Any, moments: Any, of: str = OWN) -> Any:
    """Returns `state` with its statistics, `OWN` or `TEACHERS`, moved towards the `moments` of a batch."""
    moments = jax.lax.stop_gradient(moments)
    return {**state, of: moving_average(state[of], moments, DECAY)}


def in_every_row(moments: Any, rows: int) -> Any:
    """Repeats the `moments` of a microbatch for each of its `rows`, without gradient.

    So they can be handed on beside the embeddings of the rows; see `over_rows`.
    """
    return jax.tree.map(
        lambda moment: jnp.broadcast_to(jax.lax.stop_gradient(moment), (rows, *moment.shape)),
        moments,
    )


def over_rows(moments: Any) -> Any:
    """Averages `moments`, `[rows, ...]`, over the rows of all microbatches; the inverse of `in_every_row`."""
    return jax.tree.map(lambda moment: moment.mean(axis=0), moments)
