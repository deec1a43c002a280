"""Colours as a choice among bins: the a and b of Lab, in cells of 10 x 10.

    bins      centres of the cells that some sRGB colour falls into
    soft      z_q of a colour: exp(-d^2 / (2 x 5^2)) over its 5 nearest bins, at distance d; adds up to 1
    annealed  the mean of the bins under p_q^(1/T) / sum_k p_k^(1/T): T = 1 the mean, T -> 0 the mode

Zhang et al. 2016, "Colorful image colorization", sections 2.1 to 2.3. They count 313 bins; of the 8-bit
colours of sRGB none falls into more than these 261, and a bin that no image can have teaches nothing.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

GRID = 10  # units of a and b between two bins
NEAREST = 5
DEVIATION = 5.0  # units of a and b
ROWS = {  # a -> the least and the greatest b of its bins, between which none is missing
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
    """How a colour is shared by its nearest bins, and the nearest one. The first of equal ones."""
    across, along = (ab[..., i, None] - _beside(BINS[:, i], ab) for i in range(2))
    # Worked out once: what is compared below must have been rounded in the same way.
    apart = jax.lax.optimization_barrier(jnp.square(across) + jnp.square(along))
    numbers = _beside(np.arange(len(BINS)), ab)
    rest, firsts = apart, []
    for _ in range(NEAREST):  # `top_k` would collect the batch on every device
        is_least = rest == rest.min(axis=-1, keepdims=True)
        firsts.append(jnp.where(is_least, numbers, len(BINS)).min(axis=-1, keepdims=True))
        rest = jnp.where(numbers == firsts[-1], jnp.inf, rest)
    shares = jnp.where(jnp.isinf(rest), -apart / (2 * DEVIATION**2), -jnp.inf)
    return jax.nn.softmax(shares, axis=-1), firsts[0][..., 0]


def annealed_mean(
    logits: Float[Array, "*shape bins"], temperature: float
) -> Float[Array, "*shape 2"]:
    """The a and b that scores of the bins stand for."""
    shares = jax.nn.softmax(logits / temperature, axis=-1)
    return jnp.stack([(shares * _beside(BINS[:, i], logits)).sum(axis=-1) for i in range(2)], -1)


def rebalance(prior: Float[Array, " bins"], mix: float) -> Float[Array, " bins"]:
    """Weights of bins that are rare are high: 1 / ((1 - mix) prior + mix / bins), with mean 1 under prior."""
    weights = 1 / ((1 - mix) * prior + mix / len(BINS))
    return weights / (prior * weights).sum()


def _beside(values: np.ndarray, like: Array) -> Array:
    """Of every bin, with leading axes of one."""
    return jnp.asarray(values).reshape((1,) * (like.ndim - 1) + values.shape)
