"""Denoising: read a corrupted text and write the original text.

    text      begin A B C . D E . end
    inputs    begin D _ . A C . end            sentences permuted, E infilled, B deleted
    written   begin A B C . D E . end

    loss = - sum over tokens of the text of w_i log p(x_(i+1) | x_1 … x_i, inputs)

The text is corrupted anew at every step, on the device, in this order:

    sentences permuted   the sentences of every document are put into a random order; they end at full
                         stops, exclamation and question marks
    tokens deleted       nothing in the inputs shows where
    text infilled        spans with lengths from Poisson(3) are each replaced by one mask token; a span
                         of length 0 inserts a mask token

Each can be switched off. BART uses infilling of 30 % and permutation (section 5.1).

With all of them off and a `bottleneck` this is an autoencoder: the decoder sees of a document only the
states of its first few positions, a fixed number of vectors (a single one in Wang et al. 2021, "TSDAE").

Rows are packed: no token leaves its document, and a document is written from its own inputs alone.

Deviations from the paper, with the reason for each:
  - Rows are packed with several documents; BART fills a row with one text. The share of hidden tokens is
    that of the row, and the border of a document splits a span in two.
  - Sentences end at full stops, exclamation and question marks, in the paper and its code at full stops
    alone (questions are sentences, too). Of several marks in a row each ends a sentence, in their code the
    first.
  - Lengths of spans count tokens, spans do not overlap, and the number of hidden tokens is exact. BART's code
    counts whole words, rounds up, and lets spans overlap, which then hide less (the paper says "tokens").
  - Lengths are drawn from Poisson(3), and every span becomes a mask token, as in the paper; the command of
    fairseq's issue 1899 draws from Poisson(3.5) and replaces a tenth of the mask tokens by random tokens.
  - Mask tokens of spans without tokens for which a row has no room are left out of the inputs (shapes are
    static); no token of the text is.
  - Document rotation, which the paper tries and does not use, is left out.
  - The decoder begins with the begin token of a document; in BART's code the end token stands before it,
    and the begin token is predicted (it is always the same).
  - `bottleneck=1` has the decoder's view of TSDAE, which besides deletes 60 % of the words (`deletion=0.6`
    deletes tokens), starts both halves from BERT and ties their parameters (here they are two networks).

References:
  Lewis et al. 2020, "BART: denoising sequence-to-sequence pre-training", section 2.2; Wang et al. 2021,
  "TSDAE", section 3 (`bottleneck`).

    batch    rows                       length   tokens of a row
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.errors import InputError, check_above, check_at_least, check_share, checked
from jaxssl.models.encoder_decoder import EncoderDecoder
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.batches.batch import Ratio, Text, Vocabulary
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.corruption.masking import choose_tokens
from jaxssl.objectives.corruption.positions import put_at, read_at, write_at
from jaxssl.objectives.corruption.spans import poisson_spans, run_starts
from jaxssl.objectives.prediction.decoding import (
    Examples,
    decoding_loss,
    make_model,
)

Rows = Int[Array, "batch length"]


@dataclass(frozen=True)
@checked
class Denoising(Objective):
    """Writes the text of which the inputs are a corrupted copy (Lewis et al. 2020, section 2.2)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    encoder: TransformerConfig
    """Network that reads the corrupted text, from both sides."""
    decoder: TransformerConfig
    """Causal network that writes the text."""
    infilling: float = 0.3
    """Fraction of the text tokens that are hidden in spans, from 0 (none) to below 1."""
    mean_span: float = 3.0
    """Mean of the Poisson distribution of the lengths of spans, in tokens, above 0."""
    deletion: float = 0.0
    """Fraction of the text tokens that are deleted, from 0 (none) to below 1."""
    permutation: bool = True
    """Whether the sentences of every document are put into a random order."""
    bottleneck: int | None = None
    """How many states of every document the decoder sees, the first ones; None for all."""
    label_smoothing: float = 0.0
    """Share of the target's probability that is spread over the vocabulary, from 0 to below 1."""

    def __post_init__(self) -> None:
        check_share(self, "infilling", "deletion", "label_smoothing")
        check_above(self, 0, "mean_span")
        check_at_least(self, 1, "bottleneck")
        if not (self.infilling or self.deletion or self.permutation or self.bottleneck):
            raise InputError(
                "infilling, deletion and permutation are off, and without a bottleneck the decoder would "
                "learn to copy; set one of them or, for an autoencoder, bottleneck"
            )

    def init(self, key: Array, spec: Any) -> EncoderDecoder:
        """Makes both networks for rows as in `spec`, with parameters drawn by `key`."""
        return make_model(
            key,
            self.encoder,
            self.decoder,
            spec.vocab_size,
            read=spec.length,
            written=spec.length,
        )

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Corrupts a copy of the rows, and normalises weights over the global batch.

        Args:
          batch: Rows as they were read, tokens `[batch, length]`.
          key: Random key.
        """
        order_key, deletion_key, infilling_key = jax.random.split(key, 3)
        tokens, vocabulary = batch
        inputs = tokens
        if self.permutation:
            inputs = permute_sentences(order_key, inputs, vocabulary)
        if self.deletion:
            inputs = delete_tokens(deletion_key, inputs, vocabulary, self.deletion)
        if self.infilling:
            inputs = infill(infilling_key, inputs, vocabulary, self.infilling, self.mean_span)
        return Examples.of(
            inputs,
            segments_of(inputs, vocabulary.begin, vocabulary.pad),
            tokens,
            segments_of(tokens, vocabulary.begin, vocabulary.pad),
            vocabulary,
            {},
        )

    def loss(
        self, model: EncoderDecoder, state: Any, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, dict[str, Ratio]]]:
        """Computes the weighted sum of the losses of these examples.

        Args:
          model: Encoder and decoder.
          state: Returned as it is.
          examples: Corrupted rows and rows as they were, `[batch, length]`.
          key: Random key of dropout; None for no dropout.

        Returns:
          The loss in nats, a scalar, and (the state, metrics by name).
        """
        return decoding_loss(
            model,
            state,
            examples,
            key,
            bottleneck=self.bottleneck,
            label_smoothing=self.label_smoothing,
        )


def permute_sentences(key: Array, tokens: Rows, vocabulary: Vocabulary) -> Rows:
    """Puts the sentences of every document into a random order; begin, end and padding stay.

    Args:
      key: Random key.
      tokens: Ids, `[batch, length]`.
      vocabulary: Special tokens, and which tokens end a sentence.

    Returns:
      Rows, `[batch, length]`.
    """
    segments = segments_of(tokens, vocabulary.begin, vocabulary.pad)
    ends = vocabulary.ends_sentence[tokens] | (tokens == vocabulary.begin)
    starts = jnp.pad(ends[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    sentence = jnp.cumsum(starts, axis=1) - 1
    rank = read_at(jax.random.uniform(key, tokens.shape), sentence)
    rank = jnp.where(tokens == vocabulary.begin, -1.0, rank)
    rank = jnp.where(tokens == vocabulary.end, 2.0, rank)
    segments = jnp.where(tokens == vocabulary.pad, tokens.shape[1] + 1, segments)
    keys = (segments, rank, sentence)  # so that two sentences of the same rank stay apart
    return jax.lax.sort((*keys, tokens), dimension=1, is_stable=True, num_keys=3)[3]


def delete_tokens(key: Array, tokens: Rows, vocabulary: Vocabulary, rate: float) -> Rows:
    """Deletes text tokens, chosen one by one, and fills up the rows with padding.

    Args:
      key: Random key.
      tokens: Ids, `[batch, length]`.
      vocabulary: Special tokens.
      rate: Fraction of the text tokens of each row that are deleted.

    Returns:
      Rows, `[batch, length]`.
    """
    chosen = choose_tokens(key, tokens, vocabulary, rate=rate)
    is_deleted = write_at(jnp.zeros(tokens.shape, bool), chosen.positions, chosen.real)
    is_kept = ~is_deleted & (tokens != vocabulary.pad)
    positions = jnp.where(is_kept, jnp.cumsum(is_kept, axis=1) - 1, tokens.shape[1])
    return put_at(positions, tokens.shape[1], tokens, vocabulary.pad)


def infill(key: Array, tokens: Rows, vocabulary: Vocabulary, rate: float, mean_span: float) -> Rows:
    """Replaces spans of every row by one mask token each.

    No token is dropped: where a row has no room for all mask tokens of spans without tokens, which are
    inserted, those at its end are left out.

    Args:
      key: Random key.
      tokens: Ids, `[batch, length]`.
      vocabulary: Special tokens.
      rate: Fraction of the text tokens of each row that are hidden.
      mean_span: Mean number of tokens of a span.

    Returns:
      Rows, `[batch, length]`.
    """
    length = tokens.shape[1]
    is_text = ~vocabulary.special[tokens]
    spans = poisson_spans(key, is_text, rate=rate, mean_span=mean_span)
    is_kept = (tokens != vocabulary.pad) & (spans.number < 0)
    needed = is_kept.astype(jnp.int32) + run_starts(spans.number)
    room = length - needed.sum(axis=1, keepdims=True)
    inserted = jnp.minimum(jnp.cumsum(spans.empty, axis=1), room)
    sizes = needed + jnp.diff(inserted, axis=1, prepend=0)
    ends = jnp.cumsum(sizes, axis=1)
    # Mask tokens stand between kept tokens, padding after the last one.
    is_used = jnp.arange(length)[None] < ends[:, -1:]
    rows = jnp.where(is_used, vocabulary.mask, vocabulary.pad)
    positions = jnp.where(is_kept, ends - 1, length)
    kept = put_at(positions, length, tokens, -1)
    return jnp.where(kept < 0, rows, kept)
