"""Evaluation judges the averaged parameters, on every batch that it was given, whatever its size."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxssl.objectives
from jaxssl.errors import InputError
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives import BYOL, DINO, Objective
from jaxssl.objectives.batches.batch import Ratio, share_evenly
from jaxssl.runs.checkpoint import Keep
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.evaluation import check_best, evaluate
from jaxssl.training.metrics import averages
from jaxssl.training.step import TrainState, make_evaluation
from tests.objectives.tiny_views import CROPS, tiny_captions
from tests.tiny import tiny_images, tiny_rows, tiny_spec
from tests.training.test_meshes import BOTH, IMAGES, OBJECTIVES, PAIRS, PICTURES, SPEC, WIDTHS


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


ROWS = 12
NORMS = ResNetConfig(10, width=8, norm="batch")
CASES = {
    **OBJECTIVES,
    # the teacher has batch norms of its own
    "byol": BYOL(NORMS, BOTH, WIDTHS, WIDTHS, norm="batch"),
    "dino": DINO(NORMS, CROPS, WIDTHS, prototypes=48),
}
# What compares rows with each other has another value in another batch.
COMPARED = {"simcse", "simclr", "barlow-twins", "vicreg", "pairs", "next"}
# Metrics of all rows of a batch together, and a metric whose mean is that of a batch.
OF_A_BATCH = {"alignment", "uniformity", "spread", "effective_rank"}


def held_out_batch(name, first, size):
    """Rows `first` to `first + size` of twelve; behind the last as a reader fills a batch up."""
    numbers = np.arange(first, first + size)
    real = numbers < ROWS
    if name in IMAGES:
        batch = {"images": tiny_images(0)[numbers % ROWS], "real": real}
        return batch | ({"tokens": tiny_captions(0)[numbers % ROWS]} if name == "pairs" else {})
    rows = tiny_rows(0, batch=16, vocab_size=96, sparse=True)
    return {"tokens": np.where(real[:, None], rows[numbers % ROWS], SPEC.pad)}


def held_out_metrics(name, *sizes):
    """The metrics of twelve rows, in batches of each of some sizes."""
    objective = CASES[name]
    spec = PAIRS if name == "pairs" else PICTURES if name in IMAGES else SPEC
    model = jax.jit(lambda key: objective.init(key, spec))(jax.random.key(0))
    carried = objective.init_state(model)
    mesh = Mesh().make(jax.devices()[:1])
    evaluate_batch = make_evaluation(objective, spec, mesh, seed=0)
    for size in sizes:
        sums = [
            evaluate_batch(model, carried, held_out_batch(name, first, size), number)
            for number, first in enumerate(range(0, ROWS, size))
        ]
        yield averages(jax.device_get(sums))


def test_every_objective_is_among_the_cases():
    names = {type(objective).__name__ for objective in CASES.values()}
    bases = {"Objective", "ContrastiveObjective", "TwoViews"}
    public = {
        n for n in jaxssl.objectives.__all__ if hasattr(getattr(jaxssl.objectives, n), "corrupt")
    }
    assert names >= public - bases
    assert len(names) > 15


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES.keys() - COMPARED))
def test_held_out_metrics_do_not_depend_on_the_size_of_a_batch(name):
    """All rows at once, batches of which the last is filled up, and a loop over single rows."""
    together, filled, single = held_out_metrics(name, ROWS, 8, 1)
    of_rows = together.keys() - OF_A_BATCH - ({"accuracy"} if "uniformity" in together else set())
    for metric in of_rows:
        np.testing.assert_allclose(filled[metric], together[metric], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(single[metric], together[metric], rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(COMPARED))
def test_rows_that_fill_a_batch_up_are_compared_with_none(name):
    together, filled = held_out_metrics(name, ROWS, 16)
    for metric, value in together.items():
        np.testing.assert_allclose(filled[metric], value, rtol=1e-6, atol=1e-7, err_msg=metric)


@dataclasses.dataclass(frozen=True)
class Drawn(Objective):
    """Each row's loss is its first token plus what is drawn for it."""

    corrupts_rows_apart = True

    def init(self, key, spec):
        return {"w": jnp.ones(())}

    def corrupt(self, batch, key):
        weights, total = share_evenly(batch.tokens[:, 0] > 0)
        drawn = batch.tokens[:, 0] + jax.random.uniform(key, weights.shape)
        return weights, jnp.broadcast_to(total, weights.shape), drawn

    def loss(self, model, state, examples, key):
        weights, total, drawn = examples
        loss = weights @ drawn
        return loss, (state, {"loss": Ratio(loss * total[0], weights.sum() * total[0])})


def test_what_is_drawn_for_a_row_does_not_depend_on_its_batch(key):
    rows = np.array([[3], [5], [9], [2], [7], [0], [0], [0]], np.int32)
    mesh = Mesh().make(jax.devices()[:1])
    found = []
    for size in (5, 2, 4, 1):
        spec = tiny_spec(batch=size, length=1)
        evaluate_batch = make_evaluation(Drawn(), spec, mesh, seed=0)
        sums = [
            evaluate_batch({}, (), {"tokens": rows[first : first + size]}, number)
            for number, first in enumerate(range(0, 5, size))
        ]
        found.append(averages(jax.device_get(sums))["loss"])
    np.testing.assert_allclose(found, found[0], rtol=1e-6)
    assert 26 / 5 < found[0] < 26 / 5 + 1


@pytest.mark.parametrize(
    ("best", "probe_images", "is_known"),
    [
        ("loss", 0, True),
        ("accuracy", 0, True),
        ("accurracy", 0, False),
        ("probe_accuracy", 0, False),
        ("probe_accuracy", 8, True),
    ],
)
def test_the_metric_of_the_best_must_exist(best, probe_images, is_known):
    """It is checked before the first step, without computing anything."""

    def evaluate_batch(model, carried, arrays, number):
        return {name: Ratio(model, jnp.ones(())) for name in ("accuracy", "loss")}

    config = SimpleNamespace(keep=Keep(best=best), probe_images=probe_images)
    arguments = (config, evaluate_batch, state(1.0, ()), {"tokens": np.zeros((2, 2), np.int32)})
    if is_known:
        check_best(*arguments)
        return
    with pytest.raises(InputError, match=f"keep.best='{best}' is no metric .* accuracy or loss"):
        check_best(*arguments)
