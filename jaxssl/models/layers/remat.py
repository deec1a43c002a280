"""What a layer keeps for its backward pass, and what it computes again (Chen et al. 2016).

A layer marks with `kept` the few activations that its backward pass reads. All else is computed again from
them: biases, activations, dropout and the scaling of norms cost less than writing and reading their results.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
from jax.ad_checkpoint import checkpoint_name, checkpoint_policies
from jaxtyping import Array

from jaxssl.errors import InputError
from jaxssl.models.layers.attention_choice import platform_of_mesh
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


Remat = Literal["auto", "scores", "activations", "inputs"]
# What a layer keeps for its backward pass
REMAT: dict[str, Callable[..., Any]] = {
    "scores": _activations_and_scores,
    "activations": _activations,
    "inputs": checkpoint_policies.nothing_saveable,
}


def policy_for(remat: str) -> str:
    """Chooses the key of `REMAT` that "auto" stands for on the platform of the surrounding mesh.

    On a CPU the scores of attention are kept: their product takes longer than to read them. Accelerators
    read them from memory more slowly than they compute them.

    Args:
      remat: A value of `Remat`.

    Raises:
      InputError: `remat` is none of them.
    """
    if remat == "auto":
        return "scores" if platform_of_mesh() == "cpu" else "activations"
    if remat not in REMAT:
        raise InputError(
            f"remat {remat!r} is not one of auto, {', '.join(REMAT)}; pass one of these"
        )
    return remat
