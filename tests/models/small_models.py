"""Small networks of every recipe with all parameters in play, and rows of two documents."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.models.recipes import bert, gpt2, modern, modernbert
from jaxssl.models.transformer import Transformer
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.sharding.layout import path_of

VOCABULARY = 23
PAD, BEGIN = 0, 2

TOKENS = np.array([[2, 9, 5, 7, 3, 2, 8, 8, 11, 6, 3, 0], [2, 6, 20, 13, 7, 14, 9, 3, 2, 5, 22, 3]])
SEGMENTS = np.array([[1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2]])

RECIPES: dict[str, TransformerConfig] = {
    "bert": bert(3, 16, 4, max_length=16),
    "gpt2": gpt2(3, 16, 4, max_length=16),
    "modern": modern(3, 16, 4, kv_heads=2, mlp=24, max_length=16),
    "modernbert": modernbert(4, 16, 2, max_length=16, window=2),
}


def lively(
    config: TransformerConfig, seed: int = 0, *, vocabulary: int = VOCABULARY
) -> Transformer:
    """Every parameter random, so that none is without effect; numpy compiles nothing."""
    return filled(lambda key: config.make(key, vocabulary), seed)


def filled(make: Callable[[jax.Array], Any], seed: int = 0) -> Any:
    """What `make` would make of a key, with random parameters in all places."""
    random = np.random.default_rng(seed)

    def fill(keys: Any, leaf: Any) -> jax.Array:
        middle = 1.0 if path_of(keys).endswith("scale") else 0.0
        return jnp.asarray(random.normal(middle, 0.3, leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, jax.eval_shape(make, jax.random.key(0)))


@jax.jit
def states_of(model: Transformer, tokens=TOKENS, segments=SEGMENTS, **options: Any) -> Any:
    return model(jnp.asarray(tokens), jnp.asarray(segments), **options)
