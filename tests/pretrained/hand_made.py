"""Runs whose checkpoints are made by hand, for tests of what is loaded from them: nothing is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxssl.runs.checkpoint import Checkpoints
from jaxssl.runs.resume import write_run
from jaxssl.training.config import Pretraining
from jaxssl.training.step import TrainState

Metrics = Mapping[str, float]


def save_run(config: Pretraining, states: Sequence[tuple[TrainState, Metrics | None]]) -> str:
    """Writes the folder `config.run` of a run that has saved these states with their evaluations."""
    write_run(config.run, config, config.data.open("train", seed=0))
    with Checkpoints(config.run, config.keep) as checkpoints:
        for state, metrics in states:
            checkpoints.save(state, None if metrics is None else dict(metrics))
    return config.run


def new_model(config: Pretraining, seed: int = 0) -> Any:
    """The model of a run with random parameters."""
    spec = config.data.open("train", seed=0).spec
    return jax.jit(lambda key: config.objective.init(key, spec))(jax.random.key(seed))


def state_of(step: int, model: Any, average: Any = (), carried: Any = ()) -> TrainState:
    """A training state without moments of an optimizer."""
    return TrainState(jnp.int32(step), model, (), average, carried)


def filled(tree: Any, value: float) -> Any:
    """The tree with every leaf full of one value."""
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, value, leaf.dtype), tree)
