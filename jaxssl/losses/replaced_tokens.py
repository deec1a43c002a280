"""Replaced-token detection: classify every token as original or put in by a small generator (ELECTRA).

    bce_i = log(1 + exp(z_i)) - r_i z_i            z_i logit of "replaced", r_i = 1 where token i was replaced

Clark et al. 2020, "ELECTRA: Pre-training text encoders as discriminators rather than generators",
section 2.
"""

import jax
from jaxtyping import Array, Bool, Float, Int

from jaxssl.losses.arguments import check_factor, check_floats, check_numbers, checked_weights
from jaxssl.losses.axes import AxisName
from jaxssl.losses.language import masked_lm
from jaxssl.losses.precision import softmax_type
from jaxssl.losses.weighting import keep_used, sum_weighted, weighted_mean

Weights = Float[Array, "... length"] | Bool[Array, "... length"]


def replaced_token_detection(
    logits: Float[Array, "... length"],
    replaced: Bool[Array, "... length"],
    weights: Weights,
    *,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Computes the binary cross-entropy of classifying every token as original or replaced.

        loss = sum_i w_i (log(1 + exp(z_i)) - r_i z_i) / sum_i w_i

    Args:
      logits: Logit of "replaced" at every position, `[..., length]`.
      replaced: Whether the token differs from the original one, bool `[..., length]`.
      weights: Weight of every position, `[..., length]`, or a mask: 0 for padding. What has weight
        0 may hold anything.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the batch is sharded.
        Value and gradient are then those of the global batch (`jaxssl.losses.axes` describes the
        convention).
      normalize: Whether to divide by the sum of the weights; `False` returns the weighted sum.

    Returns:
      Scalar loss in nats, float32; 0 if all weights are 0.

    Raises:
      ValueError: The shapes differ, or the types do not fit.

    References:
      Clark et al. 2020, "ELECTRA: Pre-training text encoders as discriminators rather than
      generators", section 2 (the discriminator's loss).

    >>> import jax.numpy as jnp
    >>> loss = replaced_token_detection(jnp.zeros(3), jnp.array([True, False, True]), jnp.ones(3))
    >>> round(float(loss), 4)
    0.6931
    """
    _check(logits, replaced)
    weights = checked_weights(weights, logits.shape, f"each of logits {logits.shape}")
    losses = replaced_token_detection_per_example(keep_used(logits, weights), replaced)
    total, weight = sum_weighted(losses, weights), weights.astype(losses.dtype).sum()
    return weighted_mean(total, weight, axis_name=axis_name, normalize=normalize)


def replaced_token_detection_per_example(
    logits: Float[Array, "*rows"], replaced: Bool[Array, "*rows"]
) -> Float[Array, "*rows"]:
    """Computes the binary cross-entropy at every position, unweighted.

    Args:
      logits: Logit of "replaced" at every position, `[..., length]`.
      replaced: Whether the token differs from the original one, bool `[..., length]`.

    Returns:
      Losses in nats, `[..., length]`, float32.

    Raises:
      ValueError: The shapes differ, or the types do not fit.

    References:
      Clark et al. 2020, section 2.

    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in replaced_token_detection_per_example(jnp.zeros(1), jnp.array([True])).tolist()]
    [0.6931]
    """
    _check(logits, replaced)
    logits = logits.astype(softmax_type(logits))
    return jax.nn.softplus(logits) - replaced.astype(logits.dtype) * logits


def electra(
    generator_logits: Float[Array, "... length vocab"],
    discriminator_logits: Float[Array, "... length"],
    targets: Int[Array, "... length"],
    masked: Weights,
    replaced: Bool[Array, "... length"],
    valid: Weights,
    *,
    discriminator_weight: float = 50.0,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Computes the joint loss of ELECTRA's generator and discriminator.

        loss = masked_lm(generator) + discriminator_weight * replaced_token_detection(discriminator)

    Each of the two terms is divided by the sum of its own weights.

    Args:
      generator_logits: Scores of every token of the vocabulary, `[..., length, vocab]`.
      discriminator_logits: Logit of "replaced" at every position, `[..., length]`.
      targets: Original tokens, `[..., length]`.
      masked: Weights or mask of the positions that the generator predicts, `[..., length]`.
      replaced: Whether the token that the discriminator saw differs from the original one, bool
        `[..., length]`. Where the generator drew the original token, nothing was replaced.
      valid: Weights or mask of the positions that the discriminator classifies, `[..., length]`:
        all but padding.
      discriminator_weight: Factor of the discriminator's loss; lambda in the paper, where it is 50.
      axis_name: Mapped axis over which the batch is sharded, as in `masked_lm`.
      normalize: Whether each sum is divided by the sum of its weights.

    Returns:
      Scalar loss in nats, float32.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range.

    References:
      Clark et al. 2020, "ELECTRA: Pre-training text encoders as discriminators rather than
      generators", section 2.

    >>> import jax.numpy as jnp
    >>> ones = jnp.ones((1, 2))
    >>> args = jnp.zeros((1, 2, 4)), jnp.zeros((1, 2)), jnp.zeros((1, 2), int), ones, ones > 1, ones
    >>> round(float(electra(*args, discriminator_weight=2.0)), 4)
    2.7726
    """
    check_factor(discriminator_weight, "discriminator_weight")
    generator = masked_lm(
        generator_logits, targets, masked, axis_name=axis_name, normalize=normalize
    )
    discriminator = replaced_token_detection(
        discriminator_logits, replaced, valid, axis_name=axis_name, normalize=normalize
    )
    return generator + discriminator_weight * discriminator


def _check(logits: Array, replaced: Array) -> None:
    """Raises ValueError unless there is one truth value for every logit."""
    check_floats(logits=logits)
    check_numbers(replaced=replaced)
    if replaced.shape != logits.shape:
        raise ValueError(
            f"replaced of shape {replaced.shape} must have the shape of logits, {logits.shape}"
        )
    if replaced.dtype != bool:
        raise ValueError(f"replaced of type {replaced.dtype} must be bool: pass replaced != 0")
