"""A block of tokens and a kernel, for the tests of vocabulary heads."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.losses.blockwise.token_blocks import Blocks


def example(tokens=6, dim=4, vocab=5):
    """A block whose third token has no weight, a kernel and a bias."""
    random = np.random.default_rng(vocab)
    shapes = ((tokens, dim), (vocab, dim), (vocab,))
    hidden, kernel, bias = (jnp.asarray(random.normal(size=s), jnp.float32) for s in shapes)
    weights = jnp.asarray(random.uniform(0.5, 2, tokens), jnp.float32).at[2].set(0)
    return Blocks(hidden, jnp.asarray(random.integers(0, vocab, tokens)), weights), kernel, bias


def dense_loss(hidden, kernel, bias, part, label_smoothing=0.0, z_loss=0.0):
    """The weighted sum of the losses, by the formulas."""
    logits = hidden @ kernel.T + bias[None]
    log_sum = jax.nn.logsumexp(logits, axis=1)
    own = jnp.take_along_axis(logits, part.targets[:, None], axis=1)[:, 0]
    losses = log_sum - (1 - label_smoothing) * own - label_smoothing * logits.mean(axis=1)
    return ((losses + z_loss * log_sum**2) * part.weights).sum()
