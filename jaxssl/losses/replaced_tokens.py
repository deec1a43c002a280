"""Replaced-token detection: tell which tokens a small generator has put in (ELECTRA).

    bce_i = log(1 + exp z_i) - r_i z_i            r_i = 1 where token i was replaced

Clark et al. 2020 (ELECTRA), section 2.
"""

import jax
from jaxtyping import Array, Bool, Float, Int

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
    """sum_i w_i bce_i / sum_i w_i, in nats; the logit is that of "replaced" (ELECTRA, equation 3).

    `axis_name` and `normalize` as in `masked_lm`. Raises ValueError where shapes differ.

    >>> import jax.numpy as jnp
    >>> loss = replaced_token_detection(jnp.zeros(3), jnp.array([True, False, True]), jnp.ones(3))
    >>> round(float(loss), 4)
    0.6931
    """
    if weights.shape != logits.shape:
        raise ValueError(f"weights of shape {weights.shape} must be as logits {logits.shape}")
    losses = replaced_token_detection_per_example(keep_used(logits, weights), replaced)
    total, weight = sum_weighted(losses, weights), weights.astype(losses.dtype).sum()
    return weighted_mean(total, weight, axis_name=axis_name, normalize=normalize)


def replaced_token_detection_per_example(
    logits: Float[Array, "*rows"], replaced: Bool[Array, "*rows"]
) -> Float[Array, "*rows"]:
    """The loss of every token by itself; raises as `replaced_token_detection`.

    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in replaced_token_detection_per_example(jnp.zeros(1), jnp.array([True])).tolist()]
    [0.6931]
    """
    if replaced.shape != logits.shape:
        raise ValueError(f"replaced of shape {replaced.shape} must be as logits {logits.shape}")
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
    """masked_lm over `masked` + 50 replaced_token_detection over `valid` (ELECTRA, section 2).

    `masked` and `valid` are masks or weights: the places that the generator predicts, and those that are
    not padding. `replaced` is where the sampled token differs from the original one: a generator that
    guesses right has replaced nothing. Each term is divided by the sum of its own weights. Raises
    ValueError where shapes do not fit.

    >>> import jax.numpy as jnp
    >>> ones = jnp.ones((1, 2))
    >>> args = jnp.zeros((1, 2, 4)), jnp.zeros((1, 2)), jnp.zeros((1, 2), int), ones, ones > 1, ones
    >>> round(float(electra(*args, discriminator_weight=2.0)), 4)
    2.7726
    """
    generator = masked_lm(
        generator_logits, targets, masked, axis_name=axis_name, normalize=normalize
    )
    discriminator = replaced_token_detection(
        discriminator_logits, replaced, valid, axis_name=axis_name, normalize=normalize
    )
    return generator + discriminator_weight * discriminator
