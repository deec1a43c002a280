"""Evaluation on held-out rows: exact means over all their predicted tokens, or over an even sample."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxssl.errors import InputError
from jaxssl.objectives.batches.batch import Metric
from jaxssl.sharding.mesh import batch_sharding
from jaxssl.training.config import Pretraining, Reader
from jaxssl.training.step import TrainState, place_batch


def check_best(
    config: Pretraining, evaluate_batch: Any, wanted: TrainState, batch: dict[str, Any]
) -> None:
    """Checks before the first step that `keep.best` is a metric which an evaluation has.

    Args:
      config: Configuration of the run.
      evaluate_batch: What `make_evaluation` has compiled; it is only traced here.
      wanted: Shapes of the state.
      batch: Shapes of a batch, by name.

    Raises:
      InputError: The evaluation has no metric of that name.
    """
    number = jax.ShapeDtypeStruct((), jnp.int32)
    shapes = jax.eval_shape(evaluate_batch, wanted.evaluated, wanted.carried, batch, number)
    names = [*shapes, *(["probe_accuracy"] if config.probe_images else [])]
    if config.keep.best not in names:
        raise InputError(
            f"keep.best={config.keep.best!r} is no metric of the evaluation; "
            f"set keep.best to {', '.join(names[:-1])}{' or ' if names[1:] else ''}{names[-1]}"
        )


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
