"""A number that is not finite is found in a state, and the advice fits what is saved."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.training.finite import NotFinite, advice, check_finite, not_finite
from jaxssl.training.step import TrainState


def state(**arrays):
    model = {"bias": jnp.zeros(2), "ids": jnp.arange(3), "kernel": jnp.ones(3, jnp.bfloat16)}
    return TrainState(jnp.int32(7), {**model, **arrays}, (jnp.zeros(2),), (), ())


def test_the_array_is_named():
    assert not_finite(state()) is None
    for value in (np.nan, np.inf, -np.inf):
        assert not_finite(state(bias=jnp.array([0.0, value]))) == "model/bias"
    assert not_finite(state(kernel=jnp.array([np.nan], jnp.bfloat16))) == "model/kernel"
    assert not_finite(TrainState(jnp.int32(1), {}, (jnp.array([np.nan]),), (), ())) == "optimizer/0"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), "nothing is saved yet: lower the optimizer's peak"),
        ((3,), "the last checkpoint, of step 3, is from before: lower the optimizer's peak"),
    ],
)
def test_the_last_checkpoint_is_named_where_there_is_one(tmp_path, steps, expected):
    for step in steps:
        (tmp_path / str(step)).mkdir()
    assert advice(tmp_path).startswith(expected)
    assert "mv" not in advice(tmp_path)
    with pytest.raises(
        NotFinite, match="model/bias is not finite after step 7, which is not saved"
    ):
        check_finite(state(bias=jnp.array([np.nan])), tmp_path)


def test_an_earlier_checkpoint_is_offered(tmp_path):
    for name in ("3", "12", "7", "9.orbax-checkpoint-tmp"):
        (tmp_path / name).mkdir()
    text = advice(tmp_path)
    assert "of step 12, is from before" in text
    _, source, target = text.partition("step 7 instead, after: ")[2].split()
    Path(source).rename(target)
    assert "of step 7, is from before" in advice(tmp_path)
