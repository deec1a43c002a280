"""The number type in which losses are computed, and the logit that stands for "excluded"."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

# The logit of an excluded pair: its exponential is 0, and unlike -inf it makes no NaN in differences.
NOTHING = -1e30


def softmax_type(*arrays: Array) -> Any:
    """Returns the type in which losses of `arrays` are computed: float32, or float64 for float64 arrays."""
    return jnp.promote_types(jnp.float32, jnp.result_type(*arrays))
