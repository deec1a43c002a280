"""The type in which losses are computed, and a logit that no sum notices."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

NOTHING = -1e30  # a logit that no sum notices, and that gives no NaN as -inf does


def softmax_type(*arrays: Array) -> Any:
    """float32, or float64 where that is what comes in."""
    return jnp.promote_types(jnp.float32, jnp.result_type(*arrays))
