"""Evaluation on held-out rows: exact means over all their predicted tokens."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxssl.objectives.batches.batch import Metric
from jaxssl.sharding.mesh import batch_sharding
from jaxssl.training.config import Reader
from jaxssl.training.step import TrainState, place_batch


def evaluate(
    state: TrainState,
    held_out: Reader,
    evaluate_batch: Callable[..., dict[str, Metric]],
    mesh: Any,
    batches: int,
) -> list[dict[str, Metric]]:
    """Metrics of at most `batches` batches, still on the device; of the average where one is kept.

    Every call corrupts the same rows in the same way, so that evaluations of a run compare.
    """
    sharding = batch_sharding(mesh)
    return [
        evaluate_batch(
            state.evaluated,
            state.carried,
            place_batch(held_out.batch(number), sharding),
            jnp.int32(number),
        )
        for number in range(min(batches, held_out.batches))
    ]
