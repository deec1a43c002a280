"""Span corruption: read a text from which spans were removed, and write the spans.

    text      begin Thank you for inviting me to your party last week . end
    inputs    begin Thank you <0> me to your party <1> week . end
    written   begin <0> for inviting <1> last end

    loss = - sum over written tokens of w_i log p(y_(i+1) | y_1 … y_i, inputs)

By default 15 % of the tokens are hidden, in spans of 3 tokens on average, newly drawn at every step, on the
device. The sentinels <0>, <1>, … are not tokens of the text but rows of the embedding table above the
vocabulary, so that any tokenizer will do. Each document numbers its sentinels from 0.

Every document with a hidden span has a document in the written row, which sees only that document. Rows are
packed and lengths are static: there is room for the spans of `documents` documents. In a row of more
documents, spans without room stay text, and text without room in the inputs is left out. Two metrics say
how often: `hidden` is the share of the text that is written, `left_out` the share of the row that is lost.

Deviations from the paper, with the reason for each:
  - Sentinels are rows above the vocabulary and count upwards, so that any tokenizer will do. T5 takes its
    last 100 tokens and counts downwards, as `first_sentinel` does.
  - Documents begin with a begin token in the inputs and in what is written; T5 has none, and its decoder
    starts from padding (the begin token says where a document of a packed row starts).
  - No sentinel follows the last span; the paper's figure 2 shows one, their code writes none.
  - Rows are packed: spans are drawn over the whole row, and a document's border splits a span in two. T5's
    code joins texts to rows of full length and lets attention cross their borders.
  - Without T5's z-loss of 1e-4, which keeps bfloat16 logits small (the softmax is float32 here).
  - The loss is the mean over the written tokens of the global batch; T5's code divides by all positions of
    the written rows, padding among them (rows that are filled less would count less).
  - Positions are those of the networks' configurations: rotary in `t5()`, since no fused kernel computes
    T5's relative biases (`positions="relative"`).
  - The networks of `t5()` have the gated feed-forward part of T5 1.1. Kernels and table begin with a standard
    deviation of 0.02, and attention is scaled; T5 folds that scale into the initial kernels, begins with a
    table of standard deviation 1, and scales the logits by 1 / sqrt(width). Dropout inside the feed-forward
    part and behind the last norm is left out, and each position has dropout of its own, where T5's code draws
    it once for all positions of a row (initial parameters and dropout are those of all networks here).

References:
  Raffel et al. 2020, "Exploring the limits of transfer learning with a unified text-to-text transformer"
  (T5), sections 3.1.4 and 3.3.4.

    batch    rows                       read     tokens of an input row, static
    length   tokens of a row            written  tokens of a row that the decoder writes, static
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.errors import InputError, check_at_least, check_share, checked
from jaxssl.models.encoder_decoder import EncoderDecoder
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.batches.batch import Ratio, Text, Vocabulary
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.corruption.masking import masked_count
from jaxssl.objectives.corruption.positions import put_at
from jaxssl.objectives.corruption.spans import most_spans, run_starts, segmented_spans
from jaxssl.objectives.prediction.decoding import (
    Examples,
    decoding_loss,
    make_model,
)


class Lengths(NamedTuple):
    """Static lengths of the rows that are made from a row."""

    read: int
    """Tokens that the encoder reads."""
    written: int
    """Tokens that the decoder writes."""


@dataclass(frozen=True)
@checked
class SpanCorruption(Objective):
    """Writes the spans that a text lacks (Raffel et al. 2020, section 3.1.4)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    encoder: TransformerConfig
    """Network that reads the text, from both sides."""
    decoder: TransformerConfig
    """Causal network that writes the spans."""
    rate: float = 0.15
    """Fraction of the text tokens of each row that are hidden."""
    mean_span: float = 3.0
    """Mean number of tokens of a span, at least 1."""
    documents: int = 4
    """Number of documents of a row for which the static lengths have room."""
    sentinels: int = 128
    """Most spans of a document; each has a sentinel."""
    first_sentinel: int | None = None
    """Token id of the first sentinel; the others count down from it (T5: 32,099). None: rows of the embedding
    table above the vocabulary, which count up."""
    label_smoothing: float = 0.0
    """Share of the target's probability that is spread over the vocabulary, from 0 to below 1."""

    def __post_init__(self) -> None:
        check_share(self, "rate", zero=False)
        check_share(self, "label_smoothing")
        check_at_least(self, 1, "mean_span", "documents", "sentinels")
        if self.first_sentinel is not None and self.first_sentinel < self.sentinels - 1:
            raise InputError(
                f"first_sentinel={self.first_sentinel} leaves no {self.sentinels} ids to count down to; set "
                f"sentinels to at most {max(self.first_sentinel + 1, 1)}"
            )

    def lengths(self, length: int) -> Lengths:
        """Returns what `documents` full documents in a row of `length` tokens need at most.

        With one document this is what `compute_input_and_target_lengths` of T5 returns, but for the begin and
        end tokens, which are in the row here. Each document takes two positions for them, and its borders may
        split a span in two.
        """
        cuts = self.documents - 1  # spans that are split
        fewest = masked_count(self.rate, max(length - 2 * self.documents, 1))
        spans = most_spans(self.rate, self.mean_span, max(length - 2 * self.documents, 1))
        most = masked_count(self.rate, length - 1)
        written = most + most_spans(self.rate, self.mean_span, length - 1) + cuts
        return Lengths(min(length - fewest + spans + cuts, length), written + 2 * self.documents)

    def init(self, key: Array, spec: Any) -> EncoderDecoder:
        """Makes both networks for rows as in `spec`, with parameters drawn by `key`."""
        if (spans := most_spans(self.rate, self.mean_span, spec.length)) > self.sentinels:
            raise InputError(
                f"sentinels={self.sentinels} are fewer than the {spans} spans of a row of {spec.length} "
                f"tokens; set sentinels to {-(-spans // 128) * 128}"
            )
        if self.first_sentinel is not None and self.first_sentinel >= spec.vocab_size:
            raise InputError(
                f"first_sentinel={self.first_sentinel} is no id of a vocabulary of {spec.vocab_size}; set it "
                f"to at most {spec.vocab_size - 1}, or to None for rows above the vocabulary"
            )
        return make_model(
            key,
            self.encoder,
            self.decoder,
            self.table_size(spec.vocab_size),
            **self.lengths(spec.length)._asdict(),
        )

    def table_size(self, vocab_size: int) -> int:
        """Returns the rows of the embedding table for a vocabulary of `vocab_size` ids."""
        return vocab_size + (self.sentinels if self.first_sentinel is None else 0)

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Makes the inputs and the written rows, and normalises weights over the global batch.

        Args:
          batch: Rows as they were read, tokens `[batch, length]`.
          key: Random key.
        """
        tokens, vocabulary = batch
        is_text = ~vocabulary.special[tokens]
        segments = segments_of(tokens, vocabulary.begin, vocabulary.pad)
        spans = segmented_spans(key, is_text, rate=self.rate, mean_span=self.mean_span)
        lengths = self.lengths(tokens.shape[1])
        plan = fit(tokens, spans.number, vocabulary, lengths, self.sentinels)
        if self.first_sentinel is None:
            plan = plan._replace(sentinel=vocabulary.special.size + plan.sentinel)
        else:
            plan = plan._replace(sentinel=self.first_sentinel - plan.sentinel)
        inputs, input_segments = read_rows(tokens, segments, plan, vocabulary, lengths.read)
        written, written_segments = written_rows(
            tokens, segments, plan, vocabulary, lengths.written
        )
        filled = (tokens != vocabulary.pad).sum(axis=1).astype(jnp.float32)
        text = is_text.sum(axis=1).astype(jnp.float32)
        lost = (plan.read >= lengths.read) & (tokens != vocabulary.pad)
        counts = {
            "hidden": (plan.hidden.sum(axis=1).astype(jnp.float32), text),
            "left_out": (lost.sum(axis=1).astype(jnp.float32), filled),
        }
        return Examples.of(inputs, input_segments, written, written_segments, vocabulary, counts)

    def loss(
        self, model: EncoderDecoder, state: Any, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, dict[str, Ratio]]]:
        """Computes the weighted sum of the losses of these examples.

        Args:
          model: Encoder and decoder.
          state: Returned as it is.
          examples: Rows, `[batch, read]` and `[batch, written]`.
          key: Random key of dropout; None for no dropout.

        Returns:
          The loss in nats, a scalar, and (the state, metrics by name).
        """
        return decoding_loss(model, state, examples, key, label_smoothing=self.label_smoothing)


class Plan(NamedTuple):
    """Where every token of a row goes."""

    hidden: Bool[Array, "batch length"]
    """Whether the token is hidden."""
    starts: Bool[Array, "batch length"]
    """Whether it is the first of a run of hidden tokens, which a sentinel replaces."""
    opens: Bool[Array, "batch length"]
    """Whether it is the first hidden token of its document."""
    sentinel: Int[Array, "batch length"]
    """Number of the run in its document; once all have been assigned, the token id of its sentinel."""
    read: Int[Array, "batch length"]
    """Position among the inputs; for a hidden token that of its sentinel."""
    written: Int[Array, "batch length"]
    """Position of a hidden token in the written row."""


def fit(
    tokens: Int[Array, "batch length"],
    number: Int[Array, "batch length"],
    vocabulary: Vocabulary,
    lengths: Lengths,
    sentinels: int,
) -> Plan:
    """Assigns every token its position. Runs without a sentinel or without room are not hidden any more.

    Args:
      tokens: Ids, `[batch, length]`.
      number: Number of the span that hides each token, -1 for none, `[batch, length]`.
      vocabulary: The begin and padding tokens.
      lengths: Lengths of the rows that are made.
      sentinels: Number of sentinels.
    """
    starts = run_starts(number)
    runs = jnp.cumsum(starts, axis=1)
    before = jax.lax.cummax(jnp.where(tokens == vocabulary.begin, runs, 0), axis=1)
    sentinel = runs - 1 - before
    hidden = (number >= 0) & (sentinel < sentinels)
    starts &= hidden
    opens = starts & (sentinel == 0)

    # A document is written as begin, its runs, each after its sentinel, and end.
    closes = opens & (jnp.cumsum(opens, axis=1) > 1)  # the end of the document before
    sizes = hidden.astype(jnp.int32) + starts + opens + closes
    written = jnp.cumsum(sizes, axis=1) - 1
    hidden &= written < lengths.written - 1  # room for the last end token
    starts &= hidden

    read = jnp.cumsum(((tokens != vocabulary.pad) & ~hidden) | starts, axis=1) - 1
    hidden &= read < lengths.read
    return Plan(hidden, starts & hidden, opens & hidden, sentinel, read, written)


def read_rows(
    tokens: Int[Array, "batch length"],
    segments: Int[Array, "batch length"],
    plan: Plan,
    vocabulary: Vocabulary,
    size: int,
) -> tuple[Int[Array, "batch read"], Int[Array, "batch read"]]:
    """Makes the inputs, with a sentinel for every run of hidden tokens.

    Args:
      tokens: Ids, `[batch, length]`.
      segments: Number of the document of each token, `[batch, length]`.
      plan: Where every token goes, with the ids of sentinels.
      vocabulary: The padding token.
      size: Length of the inputs, `read`.

    Returns:
      The inputs and the numbers of their documents, `[batch, read]` each.
    """
    is_read = ((tokens != vocabulary.pad) & ~plan.hidden) | plan.starts
    positions = jnp.where(is_read, jnp.minimum(plan.read, size), size)
    shown = jnp.where(plan.starts, plan.sentinel, tokens)
    return put_at(positions, size, shown, vocabulary.pad), put_at(positions, size, segments, 0)


def written_rows(
    tokens: Int[Array, "batch length"],
    segments: Int[Array, "batch length"],
    plan: Plan,
    vocabulary: Vocabulary,
    size: int,
) -> tuple[Int[Array, "batch written"], Int[Array, "batch written"]]:
    """Makes the rows that the decoder writes.

    Args:
      tokens: Ids, `[batch, length]`.
      segments: Number of the document of each token, `[batch, length]`.
      plan: Where every token goes, with the ids of sentinels.
      vocabulary: The begin, end and padding tokens.
      size: Length of the written rows, `written`.

    Returns:
      The rows and the numbers of the documents that their spans are from, `[batch, written]` each.
    """
    closes = plan.opens & (jnp.cumsum(plan.opens, axis=1) > 1)
    last = jnp.where(plan.hidden, plan.written, -1).max(axis=1, keepdims=True)
    end = jnp.where(last < 0, size, last + 1)
    parts = (  # which tokens, how many positions before their own, and what stands there
        (plan.hidden, 0, tokens),
        (plan.starts, 1, plan.sentinel),
        (plan.opens, 2, jnp.full_like(tokens, vocabulary.begin)),
        (closes, 3, jnp.full_like(tokens, vocabulary.end)),
    )
    positions = [jnp.where(chosen, plan.written - before, size) for chosen, before, _ in parts]
    values = [value for _, _, value in parts]
    rows = put_at(
        jnp.concatenate([*positions, end], axis=1),
        size,
        jnp.concatenate([*values, jnp.full_like(end, vocabulary.end)], axis=1),
        vocabulary.pad,
    )
    opened = jax.lax.cummax(put_at(positions[2], size, segments, 0), axis=1)
    return rows, jnp.where(rows == vocabulary.pad, 0, opened)
