"""The state that a run begins with: that of its latest checkpoint, or a new one.

A new state is random, or has parameters that another run has learned.
"""

from collections.abc import Sequence
from typing import Any

import jax
import optax

from jaxssl.data.images import ImageSpec
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.pretrained.grown_tables import grown_tables
from jaxssl.pretrained.load import load_pretrained
from jaxssl.runs.checkpoint import Checkpoints, OtherShapes
from jaxssl.runs.checkpoint_folders import way_back
from jaxssl.runs.hosts import print_once
from jaxssl.sharding.layout import axes_of, path_of
from jaxssl.training.config import Pretraining
from jaxssl.training.finite import not_finite
from jaxssl.training.step import TrainState, create_state

Tree = Any


def resume(
    checkpoints: Checkpoints, wanted: TrainState, changed: Sequence[str]
) -> TrainState | None:
    """Restores the latest state of a run, or returns None if nothing is saved.

    Args:
      checkpoints: Checkpoints of the run.
      wanted: Shapes and shardings of the state.
      changed: Fields of the configuration that have changed since the run began, for error messages.

    Raises:
      InputError: The checkpoint is damaged, has other shapes, or holds numbers that are not finite.
    """
    try:
        state: TrainState | None = checkpoints.restore_latest(wanted)
    except OtherShapes as error:
        lines = f"; changed since the run began: {', '.join(changed)}" if changed else ""
        raise InputError(f"{error}{lines}") from error
    if state is not None and (path := not_finite(state)):
        step = int(state.step)
        raise InputError(
            f"checkpoint {checkpoints.folder / str(step)} cannot be gone on from: {path} is not finite; "
            f"{way_back(checkpoints.folder, step)}"
        )
    return state


def begin(
    config: Pretraining, optimizer: optax.GradientTransformation, rows: Any, mesh: Any
) -> TrainState:
    """Makes the state before the first step.

    Args:
      config: Configuration of the run; parameters that `config.start` names are taken from that run.
      optimizer: Optimizer of the run.
      rows: Reader of the training rows, which has their description and their tokenizer.
      mesh: Devices that the state is sharded over.

    Raises:
      InputError: The run `config.start` has another tokenizer or other shapes.
    """
    learned = read_learned(config.start, rows.tokenizer) if config.start else {}
    state = create_state(config, optimizer, rows.spec, mesh, learned)
    if learned:
        own = parameters(state.model)
        taken = sum(own[path].size for path in own.keys() & learned.keys())
        total = sum(leaf.size for leaf in own.values())
        print_once(
            f"{taken / total:.1%} of the parameters start as {config.start} has learned them"
        )
    return state


def read_learned(run: str, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Returns the parameters of the best checkpoint of `run` by their paths.

    Its tables grow where `tokenizer` has more ids. Raises InputError where that run has read text with
    another tokenizer, and `tokenizer` was not grown from it.
    """
    pretrained = load_pretrained(run)
    theirs = pretrained.texts
    is_grown = bool(tokenizer and theirs and tokenizer.parent == theirs.fingerprint)
    if tokenizer and theirs and not is_grown and theirs.fingerprint != tokenizer.fingerprint:
        raise InputError(
            f"{run} was trained with another tokenizer than these rows; "
            f"prepare them with the tokenizer in {run}/tokenizer"
        )
    learned = parameters(pretrained.model)
    if tokenizer is None or isinstance(pretrained.spec, ImageSpec):
        return learned
    known, size = pretrained.spec.vocab_size, tokenizer.vocab_size
    if is_grown:
        words = f"{len(tokenizer.grown):,} new words begin as the means of their pieces"
        print_once(f"{words} in {run}")
    if is_grown or known < size:
        learned = grown_tables(learned, pretrained.model, known, tokenizer)
    if known > size:
        learned = _without_unused_rows(pretrained.model, learned, size)
    return learned


def _without_unused_rows(model: Tree, learned: dict[str, Any], size: int) -> dict[str, Any]:
    """Leaves out the rows of vocabulary tables that no token has; tables of others are often padded."""
    axes = axes_of(model)

    def rows(path: str, leaf: Any) -> Any:
        return leaf[tuple(slice(size if axis == "vocab" else None) for axis in axes[path] or ())]

    return {path: rows(path, leaf) for path, leaf in learned.items()}


def parameters(model: Tree) -> dict[str, Any]:
    """Returns the arrays of `model` by their paths."""
    return {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(model)}
