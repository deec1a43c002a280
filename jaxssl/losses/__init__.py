"""Losses as pure functions over arrays: exact on every topology, importable alone (jax and jaxtyping).

Weights are any non-negative numbers. A loss divides by their sum over all devices of `axis_name`;
`normalize=False` gives the weighted sum itself. A sum of zero gives loss 0 and gradient 0.
"""

from jaxssl.losses.language import causal_lm, masked_lm, next_sentence
from jaxssl.losses.linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_with_accuracy,
)

__all__ = [
    "causal_lm",
    "linear_cross_entropy",
    "linear_cross_entropy_with_accuracy",
    "masked_lm",
    "next_sentence",
]
