"""Chooses the next token from logits: greedily, or drawn at a temperature from the most probable tokens.

    tokens = choose(Sampling(temperature=0.8, top_p=0.95), key, rows, number, logits)

The limits are applied in this order, as in transformers: temperature, `top_k`, `top_p`, `min_p`.

batch      rows                        vocab      number of token ids
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.errors import check_at_least, check_share, checked

Logits = Float[Array, "batch vocab"]


@dataclass(frozen=True)
@checked
class Sampling:
    """How tokens are drawn."""

    temperature: float = 1.0
    """Number that logits are divided by: below 1 probable tokens are drawn more often. 0: the most probable
    token is taken always."""
    top_k: int | None = None
    """Number of the most probable tokens that are drawn from. None: all."""
    top_p: float | None = None
    """Share of probability: the fewest tokens that together have it are drawn from (Holtzman et al. 2020,
    nucleus sampling). None: all."""
    min_p: float | None = None
    """Tokens with less than this share of the greatest probability are not drawn (Nguyen et al. 2024).
    None: all are."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "temperature")
        check_at_least(self, 1, "top_k")
        check_share(self, "top_p", zero=False, one=True)
        check_share(self, "min_p", one=True)


def choose(
    sampling: Sampling, key: Array, rows: Int[Array, " batch"], number: Array, logits: Logits
) -> Int[Array, " batch"]:
    """Chooses a token for every row.

    Args:
      sampling: How.
      key: Random key, a scalar. Each row draws with a key of its own, folded from its number and that of the
        token, so that a row's text does not depend on the rows beside it.
      rows: Number of each row, `[batch]`.
      number: Number of the token in the text that is written, a scalar.
      logits: Logits of the token, float32 `[batch, vocab]`; -inf for tokens that must not be taken.

    Returns:
      Token ids, `[batch]`.
    """
    if sampling.temperature == 0:
        return jnp.argmax(logits, axis=-1)

    def draw(row: Array, logits: Array) -> Array:
        return jax.random.categorical(
            jax.random.fold_in(jax.random.fold_in(key, row), number), logits
        )

    return jax.vmap(draw)(rows, limited(sampling, logits))


def limited(sampling: Sampling, logits: Logits) -> Logits:
    """Computes the logits that are drawn from: divided by the temperature, -inf for tokens left out.

    Args:
      sampling: Temperature, above 0, and limits.
      logits: Logits, `[batch, vocab]`.
    """
    logits = logits / sampling.temperature
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.top_p is not None and sampling.top_p < 1:
        logits = keep_top_p(logits, sampling.top_p)
    if sampling.min_p:
        logits = keep_min_p(logits, sampling.min_p)
    return logits


def keep_top_k(logits: Logits, count: int) -> Logits:
    """Sets all logits but the greatest to -inf.

    Args:
      logits: Logits, `[batch, vocab]`.
      count: How many stay; more do where several are equal to the last of them.

    Returns:
      Logits, `[batch, vocab]`.
    """
    smallest = jax.lax.top_k(logits, min(count, logits.shape[-1]))[0][:, -1:]
    return jnp.where(logits < smallest, -jnp.inf, logits)


def keep_top_p(logits: Logits, share: float) -> Logits:
    """Sets to -inf all logits but those of the fewest tokens that together have a share of the probability.

    Args:
      logits: Logits, `[batch, vocab]`.
      share: The share, above 0. The most probable token always stays.

    Returns:
      Logits, `[batch, vocab]`.

    References:
      Holtzman et al. 2020, "The curious case of neural text degeneration", section 3.1.
    """
    ordered = -jnp.sort(-logits, axis=-1)
    probabilities = jax.nn.softmax(ordered, axis=-1)
    before = jnp.cumsum(probabilities, axis=-1) - probabilities
    smallest = jnp.where(before < share, ordered, jnp.inf).min(axis=-1, keepdims=True)
    return jnp.where(logits < smallest, -jnp.inf, logits)


def keep_min_p(logits: Logits, share: float) -> Logits:
    """Sets to -inf the logits of tokens with less than a share of the greatest probability.

    Args:
      logits: Logits, `[batch, vocab]`.
      share: The share, from above 0 to 1.

    Returns:
      Logits, `[batch, vocab]`.

    References:
      Nguyen et al. 2024, "Turning up the heat: min-p sampling", section 3.
    """
    greatest = logits.max(axis=-1, keepdims=True)
    return jnp.where(logits < greatest + jnp.log(share), -jnp.inf, logits)
