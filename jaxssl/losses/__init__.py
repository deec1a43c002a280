"""Losses as pure functions over arrays: exact on every topology, importable with jax alone.

Arrays first, options by keyword, a scalar comes back. Weights are any non-negative numbers; a loss
divides by their sum over all devices of `axis_name`, `normalize=False` gives the weighted sum itself. A
sum of zero gives loss 0 and gradient 0, and what has weight 0 may hold anything, NaN too. The
`*_per_example` forms give one number a row for people who weight themselves.

`axis_name` is for code inside `pmap`, `vmap(axis_name=)` or `shard_map`: value and gradient are then those
of the global batch (`jaxssl.losses.axes` says how). Under plain `jit` leave it out.
"""

from jaxssl.losses.contrastive import (
    info_nce,
    info_nce_per_example,
    nt_xent,
    nt_xent_per_example,
    sigmoid_contrastive,
    sigmoid_contrastive_per_example,
)
from jaxssl.losses.decorrelation import barlow_twins, vicreg
from jaxssl.losses.gradient_cache import cached_gradients
from jaxssl.losses.language import (
    causal_lm,
    causal_lm_per_example,
    masked_lm,
    masked_lm_per_example,
    next_sentence,
    next_sentence_per_example,
)
from jaxssl.losses.reconstruction import (
    masked_reconstruction,
    masked_reconstruction_per_example,
)
from jaxssl.losses.replaced_tokens import (
    electra,
    replaced_token_detection,
    replaced_token_detection_per_example,
)
from jaxssl.losses.sampled_head import linear_cross_entropy_with_samples
from jaxssl.losses.self_distillation import (
    byol,
    byol_per_example,
    dino,
    dino_center,
    dino_per_example,
)
from jaxssl.losses.softmax_cross_entropy import cross_entropy, cross_entropy_per_example
from jaxssl.losses.squared_error import mean_squared_error, mean_squared_error_per_example
from jaxssl.losses.token_sampling import sample_tokens
from jaxssl.losses.vocabulary_head import (
    linear_cross_entropy,
    linear_cross_entropy_with_accuracy,
)
from jaxssl.losses.word_vectors import negative_sampling, negative_sampling_per_example

__all__ = [
    "barlow_twins",
    "byol",
    "byol_per_example",
    "cached_gradients",
    "causal_lm",
    "causal_lm_per_example",
    "cross_entropy",
    "cross_entropy_per_example",
    "dino",
    "dino_center",
    "dino_per_example",
    "electra",
    "info_nce",
    "info_nce_per_example",
    "linear_cross_entropy",
    "linear_cross_entropy_with_accuracy",
    "linear_cross_entropy_with_samples",
    "masked_lm",
    "masked_lm_per_example",
    "masked_reconstruction",
    "masked_reconstruction_per_example",
    "mean_squared_error",
    "mean_squared_error_per_example",
    "negative_sampling",
    "negative_sampling_per_example",
    "next_sentence",
    "next_sentence_per_example",
    "nt_xent",
    "nt_xent_per_example",
    "replaced_token_detection",
    "replaced_token_detection_per_example",
    "sample_tokens",
    "sigmoid_contrastive",
    "sigmoid_contrastive_per_example",
    "vicreg",
]
