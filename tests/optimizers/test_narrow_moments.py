"""Optimizer state in bfloat16: rounded right on average, half as large, as good in training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from jaxssl.models.layers.dropout import key_words
from jaxssl.models.layers.mlp import MLP
from jaxssl.optimizers.narrow_moments import in_bfloat16, round_at_random
from jaxssl.optimizers.recipes import Adafactor, AdamW, Lamb, Lion, Muon
from jaxssl.sharding.mesh import Mesh, state_shardings
from jaxssl.training.step import TrainState


def test_rounding_is_right_on_average(key):
    """Between 1 and its neighbour 1 + 2^-7; to the nearest, all would be 1."""
    x = jnp.full(100_000, 1 + 2**-10)
    for sign in (1.0, -1.0):
        rounded = round_at_random(sign * x, key_words(key)).astype(jnp.float32)
        assert set(np.unique(rounded)) == {sign, sign * (1 + 2**-7)}
        # the mean of so many has a standard deviation of 2^-7 x 0.33 / 316
        assert rounded.mean() == pytest.approx(sign * (1 + 2**-10), abs=4e-5)
    odd = jnp.array([0.0, jnp.inf, -jnp.inf, jnp.nan, 3.0e38])
    rounded = round_at_random(odd, key_words(key)).astype(jnp.float32)
    np.testing.assert_array_equal(rounded[:4], odd[:4])


def test_a_slow_average_arrives():
    """1,000 steps of b = 0.999 towards 4 from 1: to the nearest it would stay where it began."""
    average = in_bfloat16(optax.ema(0.999, debias=False))
    target = jnp.full(1_000, 4.0)

    def step(state, _):
        return average.update(target, state)[1], None

    first = average.update(jnp.full(1_000, 1_000.0), average.init(target))[1]  # 1 after one step
    state, _ = jax.lax.scan(step, first, None, length=1_000)
    kept = jax.tree.leaves(state.inner)[-1]
    assert kept.dtype == jnp.bfloat16
    assert kept.astype(jnp.float32).mean() == pytest.approx(4 - 3 * 0.999**1_000, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [AdamW, Lamb, Lion, Adafactor, Muon])
def test_every_optimizer_keeps_its_moments_so(recipe, key):
    """Half as many bytes, cut as their parameters, and updates near those of float32 moments."""
    shape = {"layers": {"mlp": {"up": {"kernel": jnp.ones((2, 8, 16))}}}}
    options = {"warmup": 0, "schedule": "constant", "clip": 0.0}
    updates = {}
    for moments in ("float32", "bfloat16"):
        optimizer = recipe(moments=moments, **options).make(10)
        state, model = optimizer.init(shape), shape
        for number in range(3):
            gradient = jax.tree.map(
                lambda x, n=number: jax.random.normal(jax.random.fold_in(key, n), x.shape), shape
            )
            updates[moments], state = optimizer.update(gradient, state, model)
        kept = [x for x in jax.tree.leaves(state) if x.ndim and x.dtype != jnp.int32]
        assert {leaf.dtype.name for leaf in kept} == {moments}
    a, b = (np.concatenate([x.ravel() for x in jax.tree.leaves(updates[m])]) for m in updates)
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.99


def test_moments_lie_as_their_parameters_do():
    model = MLP(jax.random.key(0), (8, 16, 16))
    optimizer = AdamW(moments="bfloat16").make(10)
    step = jnp.zeros((), jnp.int32)
    state = TrainState(step, model, optimizer.init(model), average=(), carried=())
    placed = state_shardings(state, Mesh(1, 2, 4).make())
    moments = {leaf.spec for leaf in jax.tree.leaves(placed.optimizer)} - {PartitionSpec()}
    assert moments == {leaf.spec for leaf in jax.tree.leaves(placed.model)}
    assert moments == {PartitionSpec(("fsdp",), ("tensor",)), PartitionSpec(("tensor",))}
