"""Checkpoints: a full disk; what a finetuning can be without."""

import errno
import os
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import pytest

from jaxssl.errors import InputError, is_full_disk
from jaxssl.runs.checkpoint import Checkpoints


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    step: jax.Array
    model: jax.Array


def state(step: int) -> State:
    return State(jnp.int32(step), jnp.full((4,), float(step)))


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
