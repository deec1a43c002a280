"""Cross-entropies of language models, from logits.

    nll_i    = log sum_v exp z_iv - z_i,target
    smoothed = (1 - s) nll_i + s mean_v(log sum exp z_i - z_iv)      (Szegedy et al. 2016, section 7)
    z-loss   = c (log sum_v exp z_iv)^2                              (Chowdhery et al. 2022, section 5)

Softmax in float32 whatever the type of the logits.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.losses.mean import weighted_mean


def token_losses(
    logits: Float[Array, "*rows vocab"],
    targets: Int[Array, "*rows"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Float[Array, "*rows"]:
    """The loss of every token by itself, for people who weight themselves."""
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits of shape {logits.shape} need targets of shape {logits.shape[:-1]}, "
            f"not {targets.shape}"
        )
    logits = logits.astype(jnp.float32)
    log_sum = jax.nn.logsumexp(logits, axis=-1)
    target = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    losses = log_sum - target
    if label_smoothing:
        uniform = log_sum - logits.mean(axis=-1)
        losses = (1 - label_smoothing) * losses + label_smoothing * uniform
    return losses + z_loss * jnp.square(log_sum) if z_loss else losses


def masked_lm(
    logits: Float[Array, "... length vocab"],
    targets: Int[Array, "... length"],
    weights: Float[Array, "... length"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    axis_name: str | None = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """sum_i w_i nll_i / sum_i w_i over the places that are predicted (Devlin et al. 2019, 3.1).

    >>> import jax.numpy as jnp
    >>> logits = jnp.zeros((1, 3, 4))
    >>> float(masked_lm(logits, jnp.zeros((1, 3), int), jnp.array([[1.0, 0.0, 1.0]])).round(4))
    1.3863
    """
    _check_weights(targets, weights)
    losses = token_losses(logits, targets, label_smoothing=label_smoothing, z_loss=z_loss)
    total = jnp.where(weights > 0, losses * weights, 0.0).sum()
    weight = weights.astype(jnp.float32).sum()
    return weighted_mean(total, weight, axis_name=axis_name, normalize=normalize)


def causal_lm(
    logits: Float[Array, "... length vocab"],
    tokens: Int[Array, "... length"],
    weights: Float[Array, "... length"] | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    axis_name: str | None = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """The loss of predicting tokens[1:] from logits[:-1] (Radford et al. 2018, section 3.1).

    `weights` belong to the tokens that are predicted; the first one's is not used.

    >>> import jax.numpy as jnp
    >>> float(causal_lm(jnp.zeros((1, 3, 4)), jnp.zeros((1, 3), int)).round(4))
    1.3863
    """
    weights = jnp.ones(tokens.shape) if weights is None else weights
    return masked_lm(
        logits[..., :-1, :],
        tokens[..., 1:],
        weights[..., 1:],
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        axis_name=axis_name,
        normalize=normalize,
    )


def next_sentence(
    logits: Float[Array, "batch 2"],
    labels: Int[Array, " batch"],
    weights: Float[Array, " batch"] | None = None,
    *,
    axis_name: str | None = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Cross-entropy of pairs: 0 the second text follows the first, 1 it does not.

    For next-sentence (Devlin et al. 2019, 3.1) and sentence-order prediction (Lan et al. 2020, 3.1).

    >>> import jax.numpy as jnp
    >>> float(next_sentence(jnp.zeros((2, 2)), jnp.array([0, 1])).round(4))
    0.6931
    """
    weights = jnp.ones(labels.shape) if weights is None else weights
    return masked_lm(logits, labels, weights, axis_name=axis_name, normalize=normalize)


def _check_weights(targets: Array, weights: Array) -> None:
    if targets.shape != weights.shape:
        raise ValueError(
            f"targets of shape {targets.shape} need weights of that shape, not {weights.shape}"
        )
