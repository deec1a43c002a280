"""Colours as classes: bins of 10 x 10 units in the plane of a and b of the Lab colour space.

    bins      centres of the cells that some sRGB colour falls into
    soft      z_q of a colour: proportional to exp(-d^2 / (2 x 5^2)) for its 5 nearest bins, at distance d,
              and 0 for the others; adds up to 1
    annealed  the mean of the bins under p_q^(1/T) / sum_k p_k^(1/T): T = 1 is the mean, T -> 0 the mode

Zhang et al. count 313 bins. The 8-bit colours of sRGB fall into only 261 of them, which are those here: a bin
that no image can have teaches nothing.

References:
  Zhang et al. 2016, "Colorful image colorization", sections 2.1 to 2.3.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

GRID = 10  # units of a and b between two bins
NEAREST = 5  # bins that a colour is shared among
DEVIATION = 5.0  # standard deviation of the shares, in units of a and b
ROWS = {  # a -> the smallest and the largest b of its bins; none between them is missing
    -90: (80, 80),
    -80: (40, 80),
    -70: (20, 90),
    -60: (0, 90),
    -50: (-20, 90),
    -40: (-30, 90),
    -30: (-40, 90),
    -20: (-40, 90),
    -10: (-50, 90),
    0: (-60, 90),
    10: (-70, 80),
    20: (-70, 80),
    30: (-80, 80),
    40: (-90, 80),
    50: (-90, 70),
    60: (-100, 70),
    70: (-110, 70),
    80: (-110, 70),
    90: (-90, 0),
    100: (-70, -50),
}
BINS = np.array(
    [(a, b) for a, (low, high) in ROWS.items() for b in range(low, high + 1, GRID)], np.float32
)
Soft = Float[Array, "*shape bins"]


def soft_bins(ab: Float[Array, "*shape 2"]) -> tuple[Soft, Int[Array, "*shape"]]:
    """Shares each colour among its nearest bins.

    Args:
      ab: The a and b of colours, `[..., 2]`.

    Returns:
      Shares of the bins, `[..., bins]`, which add up to 1, and the number of the nearest bin, `[...]`; the
      first one where several are equally near.
    """
    across, along = (ab[..., i, None] - _beside(BINS[:, i], ab) for i in range(2))
    # Computed once: the numbers that are compared below must have been rounded in the same way.
    apart = jax.lax.optimization_barrier(jnp.square(across) + jnp.square(along))
    numbers = _beside(np.arange(len(BINS)), ab)
    rest, firsts = apart, []
    for _ in range(NEAREST):  # `top_k` would gather the batch on every device
        is_least = rest == rest.min(axis=-1, keepdims=True)
        firsts.append(jnp.where(is_least, numbers, len(BINS)).min(axis=-1, keepdims=True))
        rest = jnp.where(numbers == firsts[-1], jnp.inf, rest)
    shares = jnp.where(jnp.isinf(rest), -apart / (2 * DEVIATION**2), -jnp.inf)
    return jax.nn.softmax(shares, axis=-1), firsts[0][..., 0]


def annealed_mean(
    logits: Float[Array, "*shape bins"], temperature: float
) -> Float[Array, "*shape 2"]:
    """Returns the annealed mean of the bins, the colour that stands for a distribution over bins.

    Args:
      logits: Scores of the bins, `[..., bins]`.
      temperature: Positive temperature T.

    Returns:
      The a and b of each colour, `[..., 2]`.
    """
    shares = jax.nn.softmax(logits / temperature, axis=-1)
    return jnp.stack([(shares * _beside(BINS[:, i], logits)).sum(axis=-1) for i in range(2)], -1)


def rebalance(prior: Float[Array, " bins"], mix: float) -> Float[Array, " bins"]:
    """Returns weights that are high for rare bins: 1 / ((1 - mix) prior + mix / bins).

    Args:
      prior: Probability of each bin, `[bins]`.
      mix: Share of the uniform distribution; 1 gives all bins the same weight.

    Returns:
      Weights, `[bins]`, scaled to mean 1 under the prior.
    """
    weights = 1 / ((1 - mix) * prior + mix / len(BINS))
    return weights / (prior * weights).sum()


def _beside(values: np.ndarray, like: Array) -> Array:
    """Returns values of the bins with as many leading axes of size 1 as `like` has."""
    return jnp.asarray(values).reshape((1,) * (like.ndim - 1) + values.shape)
