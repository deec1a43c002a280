"""The number types in which losses and gradients are computed, and the logit that stands for "excluded"."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

# The logit of an excluded pair: its exponential is 0, and unlike -inf it makes no NaN in differences.
NOTHING = -1e30


def softmax_type(*arrays: Array) -> Any:
    """Returns the type in which losses of `arrays` are computed: float32, or float64 for float64 arrays."""
    return jnp.promote_types(jnp.float32, jnp.result_type(*arrays))


def gradient_type(array: Array) -> Any:
    """Returns the type in which a gradient that is formed before its cotangent is known is held.

    That is the type of `array`, but float32 for float16: a sum over the batch may exceed 65504 before
    it is divided by the weights, and small numbers would vanish before the loss scale multiplies
    them.
    """
    return jnp.float32 if array.dtype == jnp.float16 else array.dtype
