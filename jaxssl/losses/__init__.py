"""Losses as pure functions over arrays: exact on every topology, importable with jax alone.

Weights are any non-negative numbers. A loss divides by their sum over all devices of `axis_name`;
`normalize=False` gives the weighted sum itself. A sum of zero gives loss 0 and gradient 0.
"""

from jaxssl.losses.language import (
    causal_lm,
    causal_lm_per_example,
    masked_lm,
    masked_lm_per_example,
    next_sentence,
    next_sentence_per_example,
)
from jaxssl.losses.vocabulary_head import (
    linear_cross_entropy,
    linear_cross_entropy_with_accuracy,
)

__all__ = [
    "causal_lm",
    "causal_lm_per_example",
    "linear_cross_entropy",
    "linear_cross_entropy_with_accuracy",
    "masked_lm",
    "masked_lm_per_example",
    "next_sentence",
    "next_sentence_per_example",
]
