"""What a layer keeps for its backward pass, and what it computes again (Chen et al. 2016).

A layer marks with `kept` the few activations that its backward pass reads. All else is computed again from
them: biases, activations, dropout and the scaling of norms cost less than writing and reading their results.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name, checkpoint_policies
from jaxtyping import Array

from jaxssl.models.layers.fused_attention import CUDNN_FORWARD, KEPT

ACTIVATION = "activation"  # checkpoint name of what `kept` marks


def kept(x: Array) -> Array:
    """Marks an activation `x` that a layer keeps for its backward pass, and returns it."""
    return checkpoint_name(x, ACTIVATION)


_marked = checkpoint_policies.save_only_these_names(ACTIVATION, KEPT)


def _activations(primitive: Any, *arguments: Any, **parameters: Any) -> Any:
    """Keeps what is marked, and the results of fused attention, which are as small as queries."""
    if primitive.name.startswith(CUDNN_FORWARD):
        return True
    return _marked(primitive, *arguments, **parameters)


def _activations_and_scores(primitive: Any, *arguments: Any, **parameters: Any) -> Any:
    """Keeps also the products within attention, which have a batch axis."""
    if primitive is jax.lax.dot_general_p:
        (_, _), (batch, _) = parameters["dimension_numbers"]
        return bool(batch)
    return _activations(primitive, *arguments, **parameters)


# What a layer keeps for its backward pass beside its input.
REMAT: dict[str, Callable[..., Any]] = {
    "none": _activations_and_scores,
    "dots": _activations,
    "full": checkpoint_policies.nothing_saveable,
}
