"""What an objective is given, and how it reports: a batch of rows, and metrics that add up exactly.

batch      rows of one batch over all devices and hosts; a row is some text, or an image
length     tokens of a row
vocab      size of the vocabulary
masked     places of a row that are predicted
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from jaxssl.objectives.corruption.positions import count_at


def _static() -> Any:
    return field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Vocabulary:
    """What corruption and metrics must know of the tokens, as arrays on the device."""

    starts_word: Bool[Array, " vocab"]  # the token begins a new word
    byte_length: Int[Array, " vocab"]  # UTF-8 bytes of text that it stands for, 0 for specials
    special: Bool[Array, " vocab"]  # never predicted, never drawn as a replacement
    ends_sentence: Bool[Array, " vocab"]  # a full stop and the like
    ordinary: Int[Array, " ordinary"]  # the ids that are not special, to draw replacements from
    frequency: Any  # [vocab], share of each token in the text, 0 for specials; None if not counted
    pad: int = _static()
    begin: int = _static()
    end: int = _static()
    mask: int = _static()

    @classmethod
    def of(cls, spec: Any, *, counted: bool = False) -> "Vocabulary":
        """From the description of the rows (`jaxssl.data.TextSpec`), whose tables are numpy.

        `counted`: with the tokens' frequency, for which many rows are read.
        """
        special = jnp.asarray(spec.special, bool)
        return cls(
            starts_word=jnp.asarray(spec.starts_word, bool),
            byte_length=jnp.asarray(spec.byte_length, jnp.int32),
            special=special,
            ends_sentence=jnp.asarray(spec.ends_sentence, bool),
            ordinary=jnp.flatnonzero(~special).astype(jnp.int32),
            frequency=jnp.asarray(spec.frequency, jnp.float32) if counted else None,
            pad=spec.pad,
            begin=spec.begin,
            end=spec.end,
            mask=spec.mask,
        )


class Text(NamedTuple):
    """Rows of tokens as they were read, and the vocabulary that they are written in."""

    tokens: Int[Array, "batch length"]
    vocabulary: Vocabulary


class Images(NamedTuple):
    """Images as they were read, and their captions where there are some; their labels never."""

    pixels: UInt8[Array, "batch height width channels"]
    captions: Text | None = None  # one row an image: begin, its tokens, end, then pad


class Ratio(NamedTuple):
    """A metric as total and weight: adding over microbatches, devices and batches is exact."""

    total: Float[Array, ""]
    weight: Float[Array, ""]

    def number(self) -> float:
        """Total / weight, once both are on the host; 0 without weight."""
        return float(self.total) / float(self.weight) if self.weight else 0.0


class Separation(NamedTuple):
    """How well scores tell true from false, as counts by bin of the score: adding is exact.

    Its number is the area under the ROC curve: the probability that a true one scores above a false
    one, where scores in the same bin count one half (Hanley & McNeil 1982).
    """

    false: Float[Array, " bins"]
    true: Float[Array, " bins"]

    def number(self) -> float:
        """The area, once the counts are on the host; 0 where one kind is missing."""
        false, true = np.asarray(self.false, np.float64), np.asarray(self.true, np.float64)
        pairs = false.sum() * true.sum()
        below = np.cumsum(false) - false / 2
        return float(true @ below / pairs) if pairs else 0.0


Metric = Ratio | Separation
SEPARATION_BINS = 1024  # equal in s / (1 + |s|): 1/512 of a logit near 0, 1/6 at 8


def separation(
    scores: Float[Array, "batch length"],
    is_true: Bool[Array, "batch length"],
    counted: Bool[Array, "batch length"],
) -> Separation:
    """Counts of the scores that count, row by row first, so that nothing of the batch is gathered."""
    place = (scores / (1 + jnp.abs(scores)) + 1) * (SEPARATION_BINS / 2)
    bins = jnp.clip(place.astype(jnp.int32), 0, SEPARATION_BINS - 1)

    def count(which: Array) -> Array:
        return count_at(bins, SEPARATION_BINS, which).sum(axis=0).astype(jnp.float32)

    return Separation(count(counted & ~is_true), count(counted & is_true))


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


def following_tokens(
    tokens: Int[Array, "batch length"], vocabulary: Vocabulary
) -> tuple[Int[Array, "batch length"], Bool[Array, "batch length"]]:
    """The token behind every place, and whether it is to be predicted: not pad, and no new document."""
    targets = jnp.pad(tokens[:, 1:], ((0, 0), (0, 1)), constant_values=vocabulary.pad)
    return targets, (targets != vocabulary.pad) & (targets != vocabulary.begin)


def share_evenly(real: Bool[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, ""]]:
    """Weights that add up to one over all true places (all zero if there are none), and their number."""
    total = real.sum().astype(jnp.float32)
    return real / jnp.maximum(total, 1.0), total
