"""Checkpoints: which are kept and restored, a full disk, and the metric that chooses the best."""

import errno
import json
import os

import jax
import jax.numpy as jnp
import pytest

from jaxssl.errors import InputError, is_full_disk
from jaxssl.runs.checkpoint import Checkpoints, Keep, digest
from tests.runs.small_states import state


def fill_the_disk(*_: object, **__: object) -> None:
    """As tensorstore tells of it: no OSError, the reason in the text."""
    raise ValueError(f"RESOURCE_EXHAUSTED: Error writing: {os.strerror(errno.ENOSPC)}")


def test_a_full_disk_names_the_checkpoint_that_is_left(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state(3))
        checkpoints.wait()
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints.manager, "save", fill_the_disk)
            with pytest.raises(InputError, match=r"disk is full: .* that of step 3 is complete"):
                checkpoints.save(state(6))
            patch.setattr(checkpoints.manager, "wait_until_finished", fill_the_disk)
            with pytest.raises(InputError, match="disk is full"):
                checkpoints.wait()
        assert int(checkpoints.restore_latest(state(0)).step) == 3


def test_a_full_disk_is_found_behind_other_errors():
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = OSError(errno.EDQUOT, "quota")
    assert is_full_disk(wrapped)
    assert not is_full_disk(OSError(errno.EACCES, "no"))


@pytest.mark.parametrize(
    ("keep", "best", "left"),
    [
        (Keep(latest=1), 2, [2, 5]),
        (Keep(latest=1, highest=True), 3, [3, 5]),
        (Keep(latest=2, best="accuracy", highest=True, every=2), 1, [1, 2, 4, 5]),
    ],
)
def test_the_latest_and_the_best_are_kept(tmp_path, keep, best, left):
    losses, accuracies = [0.5, 0.1, 0.9, 0.4], [0.9, 0.2, 0.3, 0.4]
    with Checkpoints(tmp_path, keep) as checkpoints:
        for step, scores in enumerate(zip(losses, accuracies, strict=True), 1):
            checkpoints.save(state(step), dict(zip(("loss", "accuracy"), scores, strict=True)))
        checkpoints.save(state(5))  # not evaluated
        checkpoints.save(state(5))  # saved already
        checkpoints.wait()
        assert sorted(checkpoints.manager.all_steps()) == left
        assert checkpoints.best_step() == best
        step, model = checkpoints.restore_best_model(state(0).model)
        assert (step, model["kernel"][0]) == (best, best)
        assert int(checkpoints.restore_latest(state(0)).step) == 5


def test_the_best_needs_a_finite_value_of_its_metric(tmp_path):
    """A checkpoint without the metric, or with a value that is no number, is never the best."""
    keep = Keep(latest=1, best="accuracy", highest=True)
    with Checkpoints(tmp_path, keep) as checkpoints:
        checkpoints.save(state(1), {"loss": 0.1})
        checkpoints.save(state(2), {"loss": 0.1, "accuracy": float("nan")})
        checkpoints.wait()
        assert checkpoints.best_step() == 2  # the latest
        checkpoints.save(state(3), {"accuracy": 0.25})
        checkpoints.save(state(4), {"accuracy": float("inf")})
        checkpoints.wait()
        assert checkpoints.best_step() == 3
        assert [checkpoints.is_best({"accuracy": value}) for value in (0.2, 0.25, 0.3)] == [
            False,
            False,
            True,
        ]
        assert not checkpoints.is_best(None)
        assert not checkpoints.is_best({"accuracy": float("nan")})
    with Checkpoints(tmp_path, keep) as checkpoints:  # the best is known after a resume
        assert not checkpoints.is_best({"accuracy": 0.2})
        assert checkpoints.is_best({"accuracy": 0.3})
    text = (tmp_path / "checkpoints/4/metrics/metrics").read_text()
    assert json.loads(text) == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"latest": 0}, "latest=0 must be at least 1"),
        ({"latest": -1}, "latest=-1 must be at least 1"),
        ({"every": -1}, "every=-1 must be at least 0"),
        ({"best": ""}, "best='' must name a metric"),
    ],
)
def test_values_of_keep_that_mean_nothing(fields, message):
    with pytest.raises(InputError, match=message):
        Keep(**fields)


def test_opening_leaves_no_folder(tmp_path):
    with Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.latest_step() is None
    assert not (tmp_path / "run").exists()


def test_parts_are_restored_and_other_shapes_refused(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.best_step() is None
        assert checkpoints.restore_latest(state(0)) is None
        with pytest.raises(InputError, match="holds no checkpoint yet"):
            checkpoints.restore_best_model(state(0).model)
        checkpoints.save(state(3))
        checkpoints.wait()
        shape = jax.eval_shape(lambda: state(0).model)
        found = checkpoints.restore_parts(3, {"model": shape, "carried": ()})
        assert found["carried"] == ()
        assert found["model"]["kernel"].tolist() == [3.0] * 4
        with pytest.raises(
            InputError, match=r"model/kernel has shape \(4,\), the model has \(5,\)"
        ):
            checkpoints.restore_parts(3, {"model": {"kernel": jnp.zeros(5)}})
        with pytest.raises(
            InputError, match="checkpoint .*/7 is damaged: state/_METADATA is missing"
        ):
            checkpoints.restore_parts(7, {"model": shape})


def test_reading_leaves_unfinished_checkpoints_alone(tmp_path):
    unfinished = tmp_path / "checkpoints" / "9.orbax-checkpoint-tmp"
    unfinished.mkdir(parents=True)
    Checkpoints(tmp_path, read_only=True).close()
    assert unfinished.exists()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state(10))  # after the unfinished ones are deleted in the background
    assert not unfinished.exists()


def test_a_digest_shows_every_bit_and_every_name():
    tree = {"a": jnp.arange(3.0), "b": (jnp.ones(2),)}
    assert digest(tree) == digest({"b": (jnp.ones(2),), "a": jnp.arange(3.0)})
    assert digest(tree) != digest({**tree, "a": jnp.arange(3.0).at[0].set(-0.0)})
    assert digest(tree) != digest({"a": tree["a"], "c": tree["b"]})
