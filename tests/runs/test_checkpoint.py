"""Checkpoints: which are kept and restored, a full disk, and what may change between two starts of a run."""

import errno
import json
import os
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from jaxssl.errors import InputError, is_full_disk
from jaxssl.models.recipes import bert
from jaxssl.runs.checkpoint import Checkpoints, Keep, digest, identity, write_run


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    step: jax.Array
    model: dict[str, jax.Array]


def state(step: int) -> State:
    return State(jnp.int32(step), {"kernel": jnp.full((4,), float(step))})


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
        with pytest.raises(InputError, match="checkpoint .*/7/state cannot be read"):
            checkpoints.restore_parts(7, {"model": shape})


def test_reading_leaves_unfinished_checkpoints_alone(tmp_path):
    unfinished = tmp_path / "checkpoints" / "9.orbax-checkpoint-tmp"
    unfinished.mkdir(parents=True)
    Checkpoints(tmp_path, read_only=True).close()
    assert unfinished.exists()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state(10))  # after the unfinished ones are deleted in the background
    assert not unfinished.exists()


@dataclass(frozen=True)
class Config:
    """A configuration with the fields that `write_run` treats in a way of their own."""

    objective: Any = field(default_factory=lambda: bert(2, 32, 2))
    peak: float = 0.5
    hosts: int = 1
    restarts: int = 0


class FakeRows:
    """Rows that are known by a fingerprint."""

    def __init__(self, fingerprint: str):
        self.fingerprint = fingerprint

    def save_spec(self, folder):
        (folder / "spec").write_text(self.fingerprint)


def test_what_may_change_between_two_starts(tmp_path):
    run, rows = tmp_path / "run", FakeRows("a" * 64)
    assert write_run(run, Config(), rows) == []
    assert (run / "spec").read_text() == rows.fingerprint
    assert write_run(run, Config(peak=0.25, hosts=2, restarts=3), rows) == ["peak: 0.5 -> 0.25"]
    written = json.loads((run / "config.json").read_text())
    assert written["config"]["peak"] == 0.25
    assert not {"hosts", "restarts"} & written["config"].keys()
    with pytest.raises(InputError, match="was trained on other rows .*set run to another folder"):
        write_run(run, Config(), FakeRows("b" * 64))
    wider = Config(objective=bert(2, 64, 2))
    with pytest.raises(InputError, match=r"another model \(objective.width: 32 -> 64\); set run"):
        write_run(run, wider, rows)


def test_only_host_0_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    assert write_run(tmp_path / "run", Config(), FakeRows("a" * 64)) == []
    assert not (tmp_path / "run").exists()


def test_hosts_may_differ_in_what_changes_nothing():
    assert identity(Config(hosts=2), "data") == identity(Config(restarts=3), "data")
    assert identity(Config(peak=1.0), "data") != identity(Config(), "data")
    assert identity(Config(), "data") != identity(Config(), "other data")


def test_a_digest_shows_every_bit_and_every_name():
    tree = {"a": jnp.arange(3.0), "b": (jnp.ones(2),)}
    assert digest(tree) == digest({"b": (jnp.ones(2),), "a": jnp.arange(3.0)})
    assert digest(tree) != digest({**tree, "a": jnp.arange(3.0).at[0].set(-0.0)})
    assert digest(tree) != digest({"a": tree["a"], "c": tree["b"]})
