"""What an objective reads and reports: batches of text or images, and metrics whose sums are exact.

batch      rows of the global batch, over all devices and hosts; a row is some text, or an image
length     tokens of a row
vocab      size of the vocabulary
bins       intervals of a score
"""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from jaxssl.objectives.batches.row_axis import over_rows_of_batch
from jaxssl.objectives.corruption.positions import count_at


def _static() -> Any:
    return field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Vocabulary:
    """What corruption and metrics need to know about the tokens, as arrays on the device."""

    starts_word: Bool[Array, " vocab"]
    """Whether the token begins a new word."""
    byte_length: Int[Array, " vocab"]
    """UTF-8 bytes of the text that the token stands for; 0 for special tokens."""
    special: Bool[Array, " vocab"]
    """Whether the token is special: never predicted and never drawn as a replacement."""
    ends_sentence: Bool[Array, " vocab"]
    """Whether the token ends a sentence, such as a full stop."""
    ordinary: Int[Array, " ordinary"]
    """Ids of the tokens that are not special, from which replacements are drawn."""
    frequency: Any
    """Share of each token in the text, `[vocab]`, 0 for special ones; None where tokens were not counted."""
    pad: int = _static()
    """Id of the token that fills up a row."""
    begin: int = _static()
    """Id of the first token of a document."""
    end: int = _static()
    """Id of the last token of a document."""
    mask: int = _static()
    """Id of the token that replaces hidden tokens."""

    @classmethod
    def of(cls, spec: Any, *, counted: bool = False) -> "Vocabulary":
        """Makes the vocabulary from the description of the rows, whose tables are numpy arrays.

        Args:
          spec: A `jaxssl.data.TextSpec`, or an object with the same attributes.
          counted: Whether to read the tokens' frequency, for which many rows are read.
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
    """A batch of text as it was read."""

    tokens: Int[Array, "batch length"]
    """Ids of the tokens: packed documents, each from its begin token to its end token, then padding."""
    vocabulary: Vocabulary
    """What is known about each token."""


class Images(NamedTuple):
    """A batch of images as it was read, without labels."""

    pixels: UInt8[Array, "batch height width channels"]
    """The images."""
    captions: Text | None = None
    """One row of text for each image; None where the images have no captions."""
    real: Bool[Array, " batch"] | None = None
    """Whether an image counts; False for those that only fill up a last batch. None: all count."""


class Ratio(NamedTuple):
    """A metric `total / weight`; sums over microbatches, devices and batches are exact."""

    total: Float[Array, ""]
    """Sum of the values, each times its weight."""
    weight: Float[Array, ""]
    """Sum of the weights."""

    def number(self) -> float:
        """Returns `total / weight`, or NaN where the weight is 0: of nothing there is no mean.

        Both must be on the host.
        """
        return float(self.total) / float(self.weight) if self.weight else math.nan


class SumOfRatios(NamedTuple):
    """A metric `sum_k total_k / weight_k`, such as a loss of two tasks with examples of their own.

    Sums over microbatches, devices and batches are exact, as those of a `Ratio`.
    """

    total: Float[Array, " terms"]
    """Sum of the values of each term, each times its weight."""
    weight: Float[Array, " terms"]
    """Sum of the weights of each term."""

    def number(self) -> float:
        """Returns the sum of the terms whose weight is not 0, or NaN where all are 0; for use on the host."""
        total, weight = (np.asarray(part, np.float64) for part in self)
        known = weight != 0
        return float((total[known] / weight[known]).sum()) if known.any() else math.nan

    @classmethod
    def of(cls, *terms: tuple[float, Ratio]) -> "SumOfRatios":
        """Makes the sum of `terms`, each a factor and a ratio."""
        return cls(
            jnp.stack([factor * ratio.total for factor, ratio in terms]),
            jnp.stack([ratio.weight for _, ratio in terms]),
        )


class Separation(NamedTuple):
    """How well scores separate true from false examples, as counts by bin of the score, whose sums are exact.

    Its number is the area under the ROC curve: the probability that a true example has a higher score than a
    false one, where two scores in the same bin count one half (Hanley & McNeil 1982).
    """

    false: Float[Array, " bins"]
    """Number of false examples whose score falls into each bin."""
    true: Float[Array, " bins"]
    """Number of true examples whose score falls into each bin."""

    def number(self) -> float:
        """Returns the area, or NaN where there are no true or no false examples.

        Counts must be on the host.
        """
        false, true = np.asarray(self.false, np.float64), np.asarray(self.true, np.float64)
        pairs = false.sum() * true.sum()
        below = np.cumsum(false) - false / 2
        return float(true @ below / pairs) if pairs else math.nan


Metric = Ratio | SumOfRatios | Separation
SEPARATION_BINS = 1024  # equally wide in s / (1 + |s|): 1/512 of a logit near 0, 1/6 at 8


def separation(
    scores: Float[Array, "batch length"],
    is_true: Bool[Array, "batch length"],
    counted: Bool[Array, "batch length"],
) -> Separation:
    """Counts scores by bin, first within each row, so that nothing is gathered over devices.

    Args:
      scores: Scores, `[batch, length]`, higher where an example is rather true.
      is_true: Whether an example is true, `[batch, length]`.
      counted: Whether an example counts, `[batch, length]`.

    Returns:
      Counts of true and of false examples, `[bins]` each.
    """
    scaled = (scores / (1 + jnp.abs(scores)) + 1) * (SEPARATION_BINS / 2)
    bins = jnp.clip(scaled.astype(jnp.int32), 0, SEPARATION_BINS - 1)

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
    """Returns loss, accuracy and bits per byte of predicted tokens.

    Bits per byte = nats / ln 2 / UTF-8 bytes of the predicted tokens: unlike nats per token, they can be
    compared across vocabularies.

    Args:
      nats: Weighted sum of the losses, a scalar. Weights add up to one over the global batch.
      correct: Weighted sum of the tokens that are predicted right, a scalar.
      weights: Weights of the predicted tokens of these rows, of any shape; each is 1 / `total` or 0.
      byte_lengths: Bytes of each predicted token, in the shape of `weights`.
      total: Number of predicted tokens of the global batch, a scalar.
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
    """Returns the token that follows every position, and whether it is predicted.

    Args:
      tokens: Ids, `[batch, length]`.
      vocabulary: Which ids are padding and begin tokens.

    Returns:
      The following tokens, `[batch, length]` (padding after the last), and whether each is predicted,
      `[batch, length]`: padding and the begin token of the next document are not.
    """
    targets = jnp.pad(tokens[:, 1:], ((0, 0), (0, 1)), constant_values=vocabulary.pad)
    return targets, (targets != vocabulary.pad) & (targets != vocabulary.begin)


def share_evenly(real: Bool[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, ""]]:
    """Gives all examples of the global batch that are real the same weight, so that weights add up to one.

    Args:
      real: Whether an entry is an example, of any shape.

    Returns:
      Weights in the shape of `real`, 0 where it is false (all 0 where nothing is real), and the number of
      real examples, a float32 scalar.
    """
    total = over_rows_of_batch(real.sum().astype(jnp.float32))
    return real / jnp.maximum(total, 1.0), total
