"""Evaluation on held-out rows: exact means over all their predicted tokens, or over an even sample."""

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
    """Computes the metrics of held-out batches, with the averaged parameters where the run keeps an average.

    Every call corrupts the same rows in the same way, so that evaluations of a run can be compared.

    Args:
      state: State of the run.
      held_out: Reader of the held-out rows, each once, in an order whose first batches are an even sample
        (`sampled=True`). Rows that only fill up the last batch have weight 0.
      evaluate_batch: What `make_evaluation` has compiled.
      mesh: Devices that the batches are sharded over.
      batches: Largest number of batches that are read.

    Returns:
      The metrics of each batch by name, still on the devices.
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
