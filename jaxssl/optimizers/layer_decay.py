"""Layer-wise decay of the learning rate: what lies further from the head moves less in finetuning.

    rate of layer l of L = rate * decay^(L - l),   embeddings: rate * decay^L,   head: rate

Words that do not occur among a few labelled examples keep their place beside those that do, since the
embeddings hardly move. Howard & Ruder 2018 (ULMFiT), section 3.2; Clark et al. 2020 (ELECTRA), appendix B.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from jaxssl.errors import InputError
from jaxssl.sharding.layout import path_of

EMBEDDINGS = ("tokens", "positions", "types", "embedding_norm", "widen")


def scale_by_layer(decay: float) -> optax.GradientTransformation:
    """Scales the updates of a model with an `encoder`; behind an optimizer in `optax.chain`."""
    if not 0 < decay <= 1:
        raise InputError(f"layer_decay={decay} must lie in (0, 1]; 1 moves all layers alike")

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
