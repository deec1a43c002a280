"""Losses of self-supervised learning as pure functions of arrays, usable in any JAX project.

The package imports jax, jaxtyping and the standard library, no network library and nothing else of
`jaxssl`. For the losses alone, `pip install --no-deps` of jaxssl beside jax and jaxtyping is enough.

>>> import jax, jax.numpy as jnp
>>> from jaxssl import losses
>>> first, second = jax.random.normal(jax.random.key(0), (2, 8, 16))
>>> loss, gradient = jax.value_and_grad(losses.nt_xent)(first, second, temperature=0.1)
>>> loss.shape, gradient.shape
((), (8, 16))

    general             cross_entropy, mean_squared_error
    language models     masked_lm, causal_lm, next_sentence, replaced_token_detection, electra
    vocabulary heads    linear_cross_entropy and its variants, sample_tokens: without [tokens, vocab] logits
    two views           nt_xent (SimCLR), byol, barlow_twins, vicreg, dino
    pairs of encoders   info_nce (CLIP), sigmoid_contrastive (SigLIP)
    reconstruction      masked_reconstruction (MAE, autoencoders)
    word vectors        negative_sampling (word2vec)
    accumulation        cached_gradients: microbatches for contrastive losses

What all of them share:

- Arrays come first, options are keyword arguments, and the result is a scalar, computed in float32
  whatever the type of the arrays.
- `weights` are any non-negative numbers. The loss is divided by their sum; where there is an option
  `normalize`, `normalize=False` gives the weighted sum itself. If all weights are 0, the loss and
  its gradient are 0. Whatever has weight 0 may hold anything, NaN included.
- `axis_name` is for code inside `pmap`, `vmap(axis_name=)` or `shard_map`: value and gradient are
  then those of the global batch, the gradient after `lax.pmean` over the devices
  (`jaxssl.losses.axes` describes the convention, and when it is `psum`: for parameters that were
  `pcast` to varying). Under plain `jit` it is left out.
- `block_size` bounds the memory of losses over large matrices of logits, which are then computed in
  blocks.
- The `..._per_example` functions give one loss for each row, to be weighted by the caller.
- `ignore_index` of the losses over classes gives weight 0 to targets of that value, for instance the
  -100 of PyTorch and Hugging Face. Any other target outside the classes must have weight 0.
- Shapes, types and numbers that do not fit raise ValueError with the argument, its value, the limit
  and the way out; nothing is broadcast or truncated silently. Numbers that are traced (inside `jit`
  or `grad`) cannot be looked at: there a target outside the classes makes the loss NaN.
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
