"""What an objective is given, and how it reports: a batch of rows, and ratios that add up exactly.

batch      rows of one batch over all devices and hosts
length     tokens of a row
vocab      size of the vocabulary
masked     places of a row that are predicted
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def _static() -> Any:
    return field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Vocabulary:
    """What corruption and metrics must know of the tokens, as arrays on the device."""

    starts_word: Bool[Array, " vocab"]  # the token begins a new word
    byte_length: Int[Array, " vocab"]  # UTF-8 bytes of text that it stands for, 0 for specials
    special: Bool[Array, " vocab"]  # never predicted, never drawn as a replacement
    ordinary: Int[Array, " ordinary"]  # the ids that are not special, to draw replacements from
    pad: int = _static()
    begin: int = _static()
    end: int = _static()
    mask: int = _static()

    @classmethod
    def of(cls, spec: Any) -> "Vocabulary":
        """From the description of the rows (`jaxssl.data.TextSpec`), whose tables are numpy."""
        special = jnp.asarray(spec.special, bool)
        return cls(
            starts_word=jnp.asarray(spec.starts_word, bool),
            byte_length=jnp.asarray(spec.byte_length, jnp.int32),
            special=special,
            ordinary=jnp.flatnonzero(~special).astype(jnp.int32),
            pad=spec.pad,
            begin=spec.begin,
            end=spec.end,
            mask=spec.mask,
        )


class Text(NamedTuple):
    """Rows of tokens as they were read, and the vocabulary that they are written in."""

    tokens: Int[Array, "batch length"]
    vocabulary: Vocabulary


class Ratio(NamedTuple):
    """A metric as total and weight: adding over microbatches, devices and batches is exact."""

    total: Float[Array, ""]
    weight: Float[Array, ""]


def token_metrics(
    nats: Float[Array, ""],
    correct: Float[Array, ""],
    weights: Float[Array, "..."],
    byte_lengths: Int[Array, "..."],
    total: Float[Array, ""],
) -> dict[str, Ratio]:
    """Loss, accuracy and bits per byte of predicted tokens.

    `nats` and `correct` are sums under weights that add up to one over the global batch, in which
    each of `total` tokens has the weight 1 / total. Bits per byte = nats / ln 2 / bytes of the
    predicted tokens: unlike nats per token it compares across vocabularies.
    """
    tokens = weights.sum() * total
    text_bytes = (weights * byte_lengths).sum() * total
    return {
        "loss": Ratio(nats * total, tokens),
        "accuracy": Ratio(correct * total, tokens),
        "bits_per_byte": Ratio(nats * total / jnp.log(2.0), text_bytes),
    }


def share_evenly(real: Bool[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, ""]]:
    """Weights that add up to one over all true places (all zero if there are none), and their number."""
    total = real.sum().astype(jnp.float32)
    return real / jnp.maximum(total, 1.0), total
