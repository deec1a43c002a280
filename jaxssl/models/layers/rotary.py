"""Rotary positions (Su et al. 2021, RoFormer): pairs of numbers are rotated by position times frequency.

Number i of the first half of a head is paired with number i of the second, as in GPT-NeoX and LLaMA.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Angles = Float[Array, "batch length half"]


class Rotation(NamedTuple):
    """Rotary positions of a row, as attention takes them."""

    bases: tuple[float, ...]
    """Base of the frequencies; two where local layers have another, the global one first."""
    tables: Float[Array, "2 bases batch length half"]
    """Cosine and sine of the angles, `[2, bases, batch, length, head_dim / 2]`."""
    is_local: Bool[Array, ""] | None = None
    """Whether the layer takes the local base. None: there is one base."""


def make_rotation(
    positions: Int[Array, "batch length"], head_dim: int, bases: tuple[float, ...]
) -> Rotation:
    """Computes the tables of rotary positions.

    Args:
      positions: Positions within documents, `[batch, length]`.
      head_dim: Width of a head, an even number.
      bases: Base of the frequencies, and the one of local layers where it differs.
    """
    angles = jnp.stack([rotary_angles(positions, head_dim, base) for base in bases])
    return Rotation(bases, jnp.stack([jnp.cos(angles), jnp.sin(angles)]))


def rotary_angles(positions: Int[Array, "batch length"], head_dim: int, base: float) -> Angles:
    """Computes the angle of every pair at every position.

        angle_i = position * base^(-2 i / head_dim)    for i in 0 .. head_dim / 2 - 1

    Args:
      positions: Positions, `[batch, length]`.
      head_dim: Width of a head, an even number.
      base: Base of the frequencies, such as 10,000.

    Returns:
      Angles in radians, float32 `[batch, length, head_dim / 2]`.
    """
    frequencies = base ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    return positions[:, :, None].astype(jnp.float32) * frequencies[None, None, :]


def rotate(
    x: Float[Array, "batch length heads head_dim"], cosine: Angles, sine: Angles
) -> Float[Array, "batch length heads head_dim"]:
    """Rotates every pair of numbers of queries or keys, computed in float32.

    Args:
      x: Queries or keys, `[batch, length, heads, head_dim]`.
      cosine: Cosine of the angles, `[batch, length, head_dim / 2]`.
      sine: Sine of the angles, of the same shape.

    Returns:
      Rotated `x`, in its shape and type.
    """
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cosine, sine = cosine[:, :, None, :], sine[:, :, None, :]
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def rotate_both(
    queries: Float[Array, "batch length heads head_dim"],
    keys: Float[Array, "batch length kv_heads head_dim"],
    rotation: Rotation,
) -> tuple[Array, Array]:
    """Rotates queries and keys of the same positions.

    Args:
      queries: Queries, `[batch, length, heads, head_dim]`.
      keys: Keys, `[batch, length, kv_heads, head_dim]`.
      rotation: The angles.

    Returns:
      Rotated queries and keys, in their shapes and types.
    """
    cosine, sine = rotation.tables[:, 0]
    if rotation.is_local is not None:
        cosine, sine = jnp.where(rotation.is_local, rotation.tables[:, 1], rotation.tables[:, 0])
    return rotate(queries, cosine, sine), rotate(keys, cosine, sine)
