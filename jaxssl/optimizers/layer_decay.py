"""Layer-wise decay of the learning rate for finetuning: layers further from the head learn more slowly.

    rate of layer l of L = rate * decay^(L - l),   embeddings: rate * decay^L,   head: rate

Since the embeddings hardly change, words that are missing from a small labelled set stay comparable to
those that occur in it.

References:
  Howard & Ruder 2018, "Universal language model fine-tuning for text classification" (ULMFiT),
  section 3.2; Clark et al. 2020, "ELECTRA", appendix B.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from jaxssl.errors import InputError
from jaxssl.sharding.layout import path_of

# Names of the modules between the token ids and the first layer
EMBEDDINGS = ("tokens", "positions", "types", "embedding_norm", "widen")


def scale_by_layer(decay: float) -> optax.GradientTransformation:
    """Returns a transformation that scales the updates by the distance from the head.

    It comes after the optimizer in `optax.chain`. The model must have stacked layers (an `encoder`).

    Args:
      decay: Factor of the learning rate from each layer to the one below it, in (0, 1]; 1 changes
        nothing.

    Raises:
      InputError: `decay` is not in (0, 1].
    """
    if not 0 < decay <= 1:
        raise InputError(
            f"layer_decay={decay} must be in (0, 1]; 1 gives all layers the same learning rate"
        )

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        depths = {
            leaf.shape[0]
            for keys, leaf in jax.tree_util.tree_leaves_with_path(updates)
            if "layers" in path_of(keys).split("/")
        }
        (depth,) = depths  # layers are stacked on a leading axis

        def scale(keys: Any, update: Array) -> Array:
            names = path_of(keys).split("/")
            if "layers" in names:
                below = depth - 1 - jnp.arange(depth, dtype=update.dtype)
                return update * (decay**below).reshape(-1, *[1] * (update.ndim - 1))
            if any(name in EMBEDDINGS for name in names):
                return update * decay**depth
            return update

        return jax.tree_util.tree_map_with_path(scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
