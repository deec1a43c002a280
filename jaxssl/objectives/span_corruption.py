"""Span corruption: read a text with holes, write what was in them.

    text      begin Thank you for inviting me to your party last week . end
    inputs    begin Thank you <0> me to your party <1> week . end
    written   begin <0> for inviting <1> last end

    loss = - sum over written tokens of w_i log p(y_(i+1) | y_1 … y_i, inputs)

Raffel et al. 2020, "T5", sections 3.1.4 and 3.3.4: 15 % of the tokens in spans of 3 on average, drawn
anew at every step, on the device. The sentinels <0>, <1>, … are no tokens of the text: they are rows of
the table above the vocabulary, so that any tokenizer will do, and are numbered anew in every document.

Every document of a row with a hole has a document in the row that is written, which sees that document
alone. Rows are packed and lengths are static: there is room for the holes of `documents` documents. In
a row of more, holes without room are left as text; text without room in the inputs is left out. How
often this happens is told: `hidden` is the share of the text that is written, `left_out` of the row.

    batch    rows                       read     tokens of an input row, static
    length   tokens of a row            written  tokens of a row that the decoder writes, static
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.errors import InputError
from jaxssl.models.encoder_decoder import EncoderDecoder
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.batches.batch import Ratio, Text, Vocabulary
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.corruption.masking import masked_places
from jaxssl.objectives.corruption.positions import put_at
from jaxssl.objectives.corruption.spans import most_spans, run_starts, segmented_spans
from jaxssl.objectives.prediction.decoding import (
    Examples,
    decoding_loss,
    make_model,
)


class Lengths(NamedTuple):
    """Tokens of the rows that are made from a row."""

    read: int
    written: int


@dataclass(frozen=True)
class SpanCorruption(Objective):
    """Write the spans that a text lacks (Raffel et al. 2020, section 3.1.4)."""

    encoder: TransformerConfig
    decoder: TransformerConfig
    rate: float = 0.15  # share of a row's text tokens that are hidden
    mean_span: float = 3.0  # hidden tokens of a span, on average
    documents: int = 4  # of a row, that the static lengths have room for
    sentinels: int = 128  # rows above the vocabulary, one for each span of a document
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise InputError(f"rate={self.rate} must lie between 0 and 1, e.g. 0.15")
        if self.mean_span < 1:
            raise InputError(f"mean_span={self.mean_span} must be at least 1, e.g. 3")
        for name in ("documents", "sentinels"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1")

    def lengths(self, length: int) -> Lengths:
        """Of a row of `length`: what `documents` full documents need at most.

        With one document that is what `compute_input_and_target_lengths` of T5 has. Each takes two
        places for begin and end, and may cut a span in two.
        """
        cuts = self.documents - 1
        fewest = masked_places(self.rate, max(length - 2 * self.documents, 1))
        spans = most_spans(self.rate, self.mean_span, max(length - 2 * self.documents, 1))
        most = masked_places(self.rate, length - 1)
        written = most + most_spans(self.rate, self.mean_span, length - 1) + cuts
        return Lengths(min(length - fewest + spans + cuts, length), written + 2 * self.documents)

    def init(self, key: Array, spec: Any) -> EncoderDecoder:
        """Both networks; the table has rows for the sentinels."""
        if (spans := most_spans(self.rate, self.mean_span, spec.length)) > self.sentinels:
            raise InputError(
                f"rows of {spec.length} tokens have {spans} spans and there are {self.sentinels} "
                f"sentinels; pass --objective.sentinels {-(-spans // 128) * 128}"
            )
        return make_model(key, self.encoder, self.decoder, spec, self.sentinels)

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Makes both rows, and normalises weights over the global batch."""
        tokens, vocabulary = batch
        is_text = ~vocabulary.special[tokens]
        segments = segments_of(tokens, vocabulary.begin, vocabulary.pad)
        spans = segmented_spans(key, is_text, rate=self.rate, mean_span=self.mean_span)
        lengths = self.lengths(tokens.shape[1])
        plan = fit(tokens, spans.number, vocabulary, lengths, self.sentinels)
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
        """The weighted sum over these examples; logits are never held whole."""
        return decoding_loss(model, state, examples, key, label_smoothing=self.label_smoothing)


class Plan(NamedTuple):
    """Where every token of a row goes."""

    hidden: Array  # bool [batch, length]
    starts: Array  # bool: the first of a run of hidden tokens, for which a sentinel stands
    opens: Array  # bool: the first hidden token of its document
    sentinel: Int[Array, "batch length"]  # number of the run in its document
    read: Int[Array, "batch length"]  # place among the inputs; of a hidden token, its sentinel's
    written: Int[Array, "batch length"]  # place of a hidden token in the row that is written


def fit(
    tokens: Int[Array, "batch length"],
    number: Int[Array, "batch length"],
    vocabulary: Vocabulary,
    lengths: Lengths,
    sentinels: int,
) -> Plan:
    """Gives every token its places. Runs without a sentinel or without room are hidden no more."""
    starts = run_starts(number)
    runs = jnp.cumsum(starts, axis=1)
    before = jax.lax.cummax(jnp.where(tokens == vocabulary.begin, runs, 0), axis=1)
    sentinel = runs - 1 - before
    hidden = (number >= 0) & (sentinel < sentinels)
    starts &= hidden
    opens = starts & (sentinel == 0)

    # A document is written as begin, its runs, each behind its sentinel, and end.
    closes = opens & (jnp.cumsum(opens, axis=1) > 1)  # the document before
    sizes = hidden.astype(jnp.int32) + starts + opens + closes
    written = jnp.cumsum(sizes, axis=1) - 1
    hidden &= written < lengths.written - 1  # one is for the last end
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
    """The inputs and their segments: a sentinel for every run of hidden tokens."""
    is_read = ((tokens != vocabulary.pad) & ~plan.hidden) | plan.starts
    places = jnp.where(is_read, jnp.minimum(plan.read, size), size)
    shown = jnp.where(plan.starts, vocabulary.special.size + plan.sentinel, tokens)
    return put_at(places, size, shown, vocabulary.pad), put_at(places, size, segments, 0)


def written_rows(
    tokens: Int[Array, "batch length"],
    segments: Int[Array, "batch length"],
    plan: Plan,
    vocabulary: Vocabulary,
    size: int,
) -> tuple[Int[Array, "batch written"], Int[Array, "batch written"]]:
    """What the decoder writes, and its segments: those of the documents that it is of."""
    closes = plan.opens & (jnp.cumsum(plan.opens, axis=1) > 1)
    last = jnp.where(plan.hidden, plan.written, -1).max(axis=1, keepdims=True)
    end = jnp.where(last < 0, size, last + 1)
    parts = (  # which tokens, how many places before theirs, and what stands there
        (plan.hidden, 0, tokens),
        (plan.starts, 1, vocabulary.special.size + plan.sentinel),
        (plan.opens, 2, jnp.full_like(tokens, vocabulary.begin)),
        (closes, 3, jnp.full_like(tokens, vocabulary.end)),
    )
    places = [jnp.where(chosen, plan.written - before, size) for chosen, before, _ in parts]
    values = [value for _, _, value in parts]
    rows = put_at(
        jnp.concatenate([*places, end], axis=1),
        size,
        jnp.concatenate([*values, jnp.full_like(end, vocabulary.end)], axis=1),
        vocabulary.pad,
    )
    opened = jax.lax.cummax(put_at(places[2], size, segments, 0), axis=1)
    return rows, jnp.where(rows == vocabulary.pad, 0, opened)
