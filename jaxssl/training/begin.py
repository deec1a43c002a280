"""A new run's first state: random, or with what another run has learned under the same names."""

from typing import Any

import jax
import optax

from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.pretrained.load import load_pretrained
from jaxssl.runs.hosts import tell
from jaxssl.sharding.layout import path_of
from jaxssl.training.config import Pretraining
from jaxssl.training.step import TrainState, create_state

Tree = Any


def begin(
    config: Pretraining, optimizer: optax.GradientTransformation, rows: Any, mesh: Any
) -> TrainState:
    """The state before the first step. Raises InputError where `config.start` cannot be begun from."""
    learned = read_learned(config.start, rows.tokenizer) if config.start else {}
    state = create_state(config, optimizer, rows.spec, mesh, learned)
    if learned:
        own = parameters(state.model)
        taken = sum(own[path].size for path in own.keys() & learned.keys())
        total = sum(leaf.size for leaf in own.values())
        tell(f"{taken / total:.1%} of the parameters start as {config.start} has learned them")
    return state


def read_learned(run: str, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Path -> array of the best checkpoint of a run; where both read text, of the same tokens."""
    pretrained = load_pretrained(run)
    theirs = pretrained.texts
    if tokenizer and theirs and theirs.fingerprint != tokenizer.fingerprint:
        raise InputError(
            f"{run} was trained with another tokenizer than these rows; "
            f"prepare them with --tokenizer {run}/tokenizer"
        )
    return parameters(pretrained.model)


def parameters(model: Tree) -> dict[str, Any]:
    """Path -> array."""
    return {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(model)}
