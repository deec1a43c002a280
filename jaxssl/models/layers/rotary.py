"""Rotary positions (Su et al. 2021): pairs of a head's numbers turn by position times a frequency.

Number i of the first half is paired with number i of the second, as in GPT-NeoX and LLaMA.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Angles = Float[Array, "batch length half"]


def rotary_angles(positions: Int[Array, "batch length"], head_dim: int, base: float) -> Angles:
    """Angle in radians: position * base ** (-2 i / head_dim), for i in 0 .. head_dim / 2."""
    frequencies = base ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    return positions[:, :, None].astype(jnp.float32) * frequencies[None, None, :]


def rotate(
    x: Float[Array, "batch length heads head_dim"], cosine: Angles, sine: Angles
) -> Float[Array, "batch length heads head_dim"]:
    """Turn every pair of `x`; computed in float32, returned in the type of `x`."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cosine, sine = cosine[:, :, None, :], sine[:, :, None, :]
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)
