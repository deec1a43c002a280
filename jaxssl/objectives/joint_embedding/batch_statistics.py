"""Running statistics of batch norms: carried in an objective's state, for use and evaluation alone.

A step normalises by its own batch, and moves the average a tenth of the way to that. Evaluation, which
passes no key, normalises by the average. Where no part of the network has a batch norm they have no leaves.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxssl.objectives.contract import moving_average

DECAY = 0.9


def first_statistics(model: Any) -> Any:
    """Of a new model, by the parts that may have batch norms: mean 0 and variance 1."""
    parts = ("encoder", "projector", "predictor")
    found = {name: getattr(model, name, None) for name in parts}
    return {name: part.first_statistics() for name, part in found.items() if part is not None}


def statistics_for(state: Any, key: Array | None) -> Any:
    """What a network is given: nothing in training, so that it takes the batch's own."""
    return state["statistics"] if key is None else None


def moved(state: Any, moments: Any) -> Any:
    """The state with its statistics nearer to the moments of a batch."""
    moments = jax.lax.stop_gradient(moments)
    return {**state, "statistics": moving_average(state["statistics"], moments, DECAY)}


def in_every_row(moments: Any, rows: int) -> Any:
    """As embeddings travel: the mean over the rows of all microbatches is the mean of theirs."""
    return jax.tree.map(
        lambda moment: jnp.broadcast_to(jax.lax.stop_gradient(moment), (rows, *moment.shape)),
        moments,
    )


def over_rows(moments: Any) -> Any:
    """The mean of what `in_every_row` has made."""
    return jax.tree.map(lambda moment: moment.mean(axis=0), moments)
