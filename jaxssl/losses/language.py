"""Cross-entropies of language models, from logits.

    nll_i    = log sum_v exp z_iv - z_i,target
    smoothed = (1 - s) nll_i + s mean_v(log sum exp z_i - z_iv)   (Szegedy et al. 2016, section 7)
    z-loss   = c (log sum_v exp z_iv)^2                           (Chowdhery et al. 2022, section 5)

Softmax in float32 whatever the type of the logits. Logits and targets of weight 0 may hold
anything; a target outside the vocabulary that has weight gives NaN.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.losses.axes import AxisName
from jaxssl.losses.precision import softmax_type
from jaxssl.losses.weighting import keep_used, sum_weighted, weighted_mean


def masked_lm(
    logits: Float[Array, "... length vocab"],
    targets: Int[Array, "... length"],
    weights: Float[Array, "... length"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """sum_i w_i nll_i / sum_i w_i over the places that are predicted (Devlin et al. 2019, 3.1).

    In nats. `normalize=False` gives the weighted sum itself. With `axis_name` both sums go over the
    devices, so value and gradient are those of the global batch (`jaxssl.losses` says how).
    Raises ValueError where shapes do not fit.

    >>> import jax.numpy as jnp
    >>> logits = jnp.zeros((1, 3, 4))
    >>> round(float(masked_lm(logits, jnp.zeros((1, 3), int), jnp.array([[1.0, 0.0, 1.0]]))), 4)
    1.3863
    """
    _check_weights(targets, weights)
    _check_targets(logits, targets)
    losses = masked_lm_per_example(
        keep_used(logits, weights),
        keep_used(targets, weights),
        label_smoothing=label_smoothing,
        z_loss=z_loss,
    )
    total, weight = sum_weighted(losses, weights), weights.astype(losses.dtype).sum()
    return weighted_mean(total, weight, axis_name=axis_name, normalize=normalize)


def masked_lm_per_example(
    logits: Float[Array, "*rows vocab"],
    targets: Int[Array, "*rows"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Float[Array, "*rows"]:
    """The loss of every token by itself, for people who weight themselves; raises as `masked_lm`.

    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in masked_lm_per_example(jnp.zeros((2, 4)), jnp.array([0, 3])).tolist()]
    [1.3863, 1.3863]
    """
    _check_targets(logits, targets)
    check_smoothing(label_smoothing)
    logits = logits.astype(softmax_type(logits))
    log_sum = jax.nn.logsumexp(logits, axis=-1)
    # A negative id would count from the end; outside the vocabulary it is to give NaN.
    places = jnp.where(targets < 0, logits.shape[-1], targets)
    losses = log_sum - jnp.take_along_axis(logits, places[..., None], axis=-1)[..., 0]
    if label_smoothing:
        uniform = log_sum - logits.mean(axis=-1)
        losses = (1 - label_smoothing) * losses + label_smoothing * uniform
    return losses + z_loss * jnp.square(log_sum) if z_loss else losses


def causal_lm(
    logits: Float[Array, "... length vocab"],
    tokens: Int[Array, "... length"],
    weights: Float[Array, "... length"] | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """The loss of predicting tokens[1:] from logits[:-1] (Radford et al. 2018, section 3.1).

    `weights` belong to the tokens that are predicted; the first one's is not used. Options, and what
    is raised, as `masked_lm`.

    >>> import jax.numpy as jnp
    >>> round(float(causal_lm(jnp.zeros((1, 3, 4)), jnp.zeros((1, 3), int))), 4)
    1.3863
    """
    _check_targets(logits, tokens)
    weights = jnp.ones(tokens.shape) if weights is None else weights
    _check_weights(tokens, weights)
    return masked_lm(
        logits[..., :-1, :],
        tokens[..., 1:],
        weights[..., 1:],
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        axis_name=axis_name,
        normalize=normalize,
    )


def causal_lm_per_example(
    logits: Float[Array, "... length vocab"],
    tokens: Int[Array, "... length"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Float[Array, "... predicted"]:
    """The loss of every token but the first, `[..., length - 1]`; raises as `causal_lm`.

    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in causal_lm_per_example(jnp.zeros((3, 4)), jnp.zeros(3, int)).tolist()]
    [1.3863, 1.3863]
    """
    _check_targets(logits, tokens)
    return masked_lm_per_example(
        logits[..., :-1, :], tokens[..., 1:], label_smoothing=label_smoothing, z_loss=z_loss
    )


def next_sentence(
    logits: Float[Array, "batch 2"],
    labels: Int[Array, " batch"],
    weights: Float[Array, " batch"] | None = None,
    *,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Cross-entropy of pairs: 0 the second text follows the first, 1 it does not.

    For next-sentence (Devlin et al. 2019, 3.1) and sentence-order prediction (Lan et al. 2020,
    3.1). Options as `masked_lm`. Raises ValueError where shapes do not fit.

    >>> import jax.numpy as jnp
    >>> round(float(next_sentence(jnp.zeros((2, 2)), jnp.array([0, 1]))), 4)
    0.6931
    """
    _check_classes(logits)
    weights = jnp.ones(labels.shape) if weights is None else weights
    return masked_lm(logits, labels, weights, axis_name=axis_name, normalize=normalize)


def next_sentence_per_example(
    logits: Float[Array, "batch 2"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """The loss of every pair by itself; raises as `next_sentence`.

    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in next_sentence_per_example(jnp.zeros((2, 2)), jnp.array([0, 1])).tolist()]
    [0.6931, 0.6931]
    """
    _check_classes(logits)
    return masked_lm_per_example(logits, labels)


def check_smoothing(label_smoothing: float) -> None:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing {label_smoothing} must be from 0 to 1: it is a share")


def _check_classes(logits: Array) -> None:
    if logits.shape[-1] != 2:
        raise ValueError(f"logits of shape {logits.shape} must be [batch, 2]: follows, does not")


def _check_weights(targets: Array, weights: Array) -> None:
    if targets.shape != weights.shape:
        raise ValueError(
            f"targets of shape {targets.shape} need weights of that shape, not {weights.shape}"
        )


def _check_targets(logits: Array, targets: Array) -> None:
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits of shape {logits.shape} need targets of shape {logits.shape[:-1]}, "
            f"not {targets.shape}"
        )
