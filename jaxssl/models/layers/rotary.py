"""Rotary positions (Su et al. 2021, RoFormer): pairs of numbers are rotated by position times frequency.

Number i of the first half of a head is paired with number i of the second, as in GPT-NeoX and LLaMA.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.errors import InputError, check_above, check_at_least, checked

Angles = Float[Array, "batch length half"]


@dataclass(frozen=True)
@checked
class RotaryScaling:
    """Lower frequencies of rotary positions, for rows that are longer than those trained on.

        frequency' = frequency * (share + (1 - share) / factor)

    Without an `original_length` the share is 0: all frequencies are divided (Chen et al. 2023, "Extending
    context window of large language models via positional interpolation"). With one it is that of Llama 3
    (Grattafiori et al. 2024, section 3.4.2 and the published code): by the turns that a pair makes in
    `original_length` positions, 0 up to `slow_turns`, 1 from `fast_turns`, and linear in between.
    """

    factor: float
    """Number that slow frequencies are divided by, at least 1."""
    original_length: int | None = None
    """Longest row that was trained on with plain frequencies. None: all frequencies are divided."""
    slow_turns: float = 1.0
    """Turns in `original_length` positions up to which a frequency is divided (`low_freq_factor`)."""
    fast_turns: float = 4.0
    """Turns from which on a frequency stays as it is (`high_freq_factor`)."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "factor", "original_length")
        check_above(self, 0, "slow_turns")
        if self.fast_turns <= self.slow_turns:
            raise InputError(
                f"fast_turns={self.fast_turns} is not above slow_turns={self.slow_turns}; set fast_turns to "
                f"{4 * self.slow_turns:g}"
            )

    def apply(self, frequencies: Float[Array, " half"]) -> Float[Array, " half"]:
        """Lowers `frequencies`, in radians for each position, `[head_dim / 2]`."""
        if self.original_length is None:
            return frequencies / self.factor
        turns = frequencies * self.original_length / (2 * math.pi)
        share = (turns - self.slow_turns) / (self.fast_turns - self.slow_turns)
        share = jnp.clip(share, 0.0, 1.0)
        return frequencies * (share + (1 - share) / self.factor)


class Rotation(NamedTuple):
    """Rotary positions of a row, as attention takes them."""

    bases: tuple[float, ...]
    """Base of the frequencies; two where local layers have another, the global one first. Empty where the
    frequencies are scaled, so that the tables alone have the angles."""
    tables: Float[Array, "2 bases batch length half"]
    """Cosine and sine of the angles, `[2, bases, batch, length, head_dim / 2]`."""
    is_local: Bool[Array, ""] | None = None
    """Whether the layer takes the local base. None: there is one base."""


def make_rotation(
    positions: Int[Array, "batch length"],
    head_dim: int,
    bases: tuple[float, ...],
    scaling: RotaryScaling | None = None,
) -> Rotation:
    """Computes the tables of rotary positions.

    Args:
      positions: Positions within documents, `[batch, length]`.
      head_dim: Width of a head, an even number.
      bases: Base of the frequencies, and the one of local layers where it differs.
      scaling: How frequencies are lowered for long rows. `None`: they are not.
    """
    angles = jnp.stack([rotary_angles(positions, head_dim, base, scaling) for base in bases])
    tables = jnp.stack([jnp.cos(angles), jnp.sin(angles)])
    return Rotation(bases if scaling is None else (), tables)


def rotary_angles(
    positions: Int[Array, "batch length"],
    head_dim: int,
    base: float,
    scaling: RotaryScaling | None = None,
) -> Angles:
    """Computes the angle of every pair at every position.

        angle_i = position * base^(-2 i / head_dim)    for i in 0 .. head_dim / 2 - 1

    Args:
      positions: Positions, `[batch, length]`.
      head_dim: Width of a head, an even number.
      base: Base of the frequencies, such as 10,000.
      scaling: How frequencies are lowered for long rows. `None`: they are not.

    Returns:
      Angles in radians, float32 `[batch, length, head_dim / 2]`.
    """
    frequencies = base ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    frequencies = frequencies if scaling is None else scaling.apply(frequencies)
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
