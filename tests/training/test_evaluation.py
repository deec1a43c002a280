"""Evaluation judges the averaged parameters, on every batch that it was given."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.objectives.batches.batch import Ratio
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.evaluation import evaluate
from jaxssl.training.metrics import averages
from jaxssl.training.step import TrainState


def state(model, average):
    return TrainState(jnp.int32(3), jnp.float32(model), (), average, ())


def run(state, batches, limit):
    """The value of the parameters times the mean of the tokens, weighted by the number of rows."""
    held_out = SimpleNamespace(
        batches=len(batches), batch=lambda number: {"tokens": np.asarray(batches[number])}
    )

    def evaluate_batch(model, carried, arrays, number):
        rows = arrays["tokens"]
        weight = (rows > 0).sum().astype(jnp.float32)
        return {"loss": Ratio(model * rows.sum().astype(jnp.float32), weight)}

    mesh = Mesh().make(jax.devices()[:1])
    return averages(jax.device_get(evaluate(state, held_out, evaluate_batch, mesh, limit)))["loss"]


def test_every_batch_counts_up_to_the_limit():
    batches = [[[1], [1]], [[5], [5]], [[0], [3]]]
    assert run(state(1.0, ()), batches, 10) == (2 + 10 + 3) / 5
    assert run(state(1.0, ()), batches, 2) == (2 + 10) / 4


def test_the_average_is_judged_where_one_is_kept():
    batches = [[[1], [1]], [[3], [3]]]
    assert run(state(10.0, jnp.float32(2.0)), batches, 10) == 4.0
    assert run(state(10.0, ()), batches, 10) == 20.0
