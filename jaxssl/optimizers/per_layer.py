"""Applies an optimizer to each layer of stacked parameters separately.

The parameters of a network's layers are stacked on a leading axis, `[layers, ...]`. An optimizer that uses
properties of a whole parameter, such as its norm, must not see the stack as one parameter.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from jaxssl.sharding.layout import path_of

Tree = Any
# Paths of stacked parameters; layers/0 is a single layer of a perceptron, which is not stacked
STACKED = re.compile(r"(^|/)layers/(?!\d)")


def is_stacked(path: str) -> bool:
    """Returns whether the parameter at `path` (such as "encoder/layers/mlp/kernel") is stacked."""
    return STACKED.search(path) is not None


class _Done(NamedTuple):
    """The update and the new state of one parameter."""

    update: Any
    state: Any


def per_layer(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Applies an optimizer to each layer of stacked parameters separately, as if they were not stacked.

    Args:
      inner: Optimizer that treats each parameter on its own. It is called with one array at a time
        instead of a pytree.

    Returns:
      The optimizer; its state has the model's structure, with a state of `inner` for each parameter.
    """

    def init(model: Tree) -> Tree:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: _over_layers(path, inner.init)(leaf), model
        )

    def update(updates: Tree, state: Tree, model: Tree = None) -> tuple[Tree, Tree]:
        done = jax.tree_util.tree_map_with_path(
            lambda path, *parts: _Done(*_over_layers(path, inner.update)(*parts)),
            updates,
            state,
            model,
        )
        new_updates, new_state = (
            jax.tree.map(lambda d, i=i: d[i], done, is_leaf=lambda x: isinstance(x, _Done))
            for i in range(2)
        )
        return new_updates, new_state

    return optax.GradientTransformation(init, update)


def _over_layers(path: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Maps a function over the layer axis if the path is that of a stacked parameter."""
    return jax.vmap(function) if is_stacked(path_of(path)) else function
