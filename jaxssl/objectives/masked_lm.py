"""Masked language modelling: predict hidden tokens from the tokens on both sides.

    loss = - sum over hidden positions i of w_i log p(x_i | corrupted row)  [+ second task]

A fraction `rate` of the text tokens of every row is hidden, newly drawn at every step, on the device. The
second task, next-sentence prediction or sentence order, is in `sentence_pairs.py`.

Deviations from the papers, with the reason for each:
  - Rows are packed with several documents, and attention stays within a document; BERT fills a row with one
    pair of texts (padding costs as much as text).
  - What is hidden is drawn anew at every step, as in RoBERTa; BERT's data hold ten copies of every text.
  - A random token is never a special one, as in RoBERTa's code; BERT's draws from the whole vocabulary (a
    separator in the middle of a text would end it here).
  - The number of hidden tokens is the share of a row's text tokens, rounded. BERT's code counts its special
    tokens, too, and has a limit of predictions a row; RoBERTa's code rounds up or down at random, and may
    hide a special token (which follows from its position); ModernBERT's code draws for each token by itself
    (shapes are static here).
  - The loss is the mean over the hidden tokens of the global batch; BERT's code averages the means of its
    devices (the loss would depend on their number).
  - Spans: adjacent and overlapping ones are replaced as one, as in SpanBERT's code, but its span boundary
    objective, a second head on the tokens beside a span, is left out (one head serves all kinds of masking).
    A span ends with its document. It begins at a word, all equally likely; in their code at the word of a
    token that is not hidden yet, so that long words begin more (a word is the unit here, and spans are drawn
    at once).
  - Whole words: as in BERT's code, words that do not fit into what is left of the count are passed over, but
    only in four passes (each costs as much). Words of more than 10 tokens, which their code hides as a whole,
    and words that are longer than the count, which it never hides, are taken token by token (text that is
    written without spaces would be hidden nowhere).
  - Initial parameters are normal with a standard deviation of 0.02; BERT and ModernBERT draw again what is
    beyond two of them. ModernBERT has no bias in the dense layer of the head, and dropout of 0.1 behind
    attention alone (one rule, one head and one rate serve all networks).

References:
  Devlin et al. 2019, "BERT", section 3.1; Liu et al. 2019, "RoBERTa" (no second task); Joshi et al. 2020,
  "SpanBERT" (`masking="spans"`); Warner et al. 2024, "ModernBERT" (the network of `modernbert()`).

    batch    rows                       masked   positions of a row that are predicted, static
    length   tokens of a row            vocab    size of the vocabulary
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.errors import InputError, check_at_least, check_share, checked
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.pretraining.masked_language_model import MaskedLanguageModel
from jaxssl.models.transformer_config import TransformerConfig, check_length
from jaxssl.objectives.batches.batch import Ratio, Text, Vocabulary, share_evenly, token_metrics
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.corruption.masking import (
    Masking,
    check_masking,
    choose_tokens,
    replace_tokens,
)
from jaxssl.objectives.corruption.positions import read_at
from jaxssl.objectives.prediction.token_losses import token_losses
from jaxssl.objectives.sentence_pairs import NextSentence, SentenceOrder


class Examples(NamedTuple):
    """Corrupted rows and what is to be predicted."""

    inputs: Int[Array, "batch length"]
    """Corrupted tokens."""
    segments: Int[Array, "batch length"]
    """Number of the document of each token, from 1; 0 for padding."""
    types: Int[Array, "batch length"]
    """1 for the second text of a pair, else 0."""
    positions: Int[Array, "batch masked"]
    """Positions that are predicted."""
    targets: Int[Array, "batch masked"]
    """True tokens at these positions."""
    weights: Float[Array, "batch masked"]
    """Weights of the targets, 0 where a row has fewer; they add up to one over the global batch."""
    byte_lengths: Int[Array, "batch masked"]
    """UTF-8 bytes that each target stands for."""
    total: Float[Array, " batch"]
    """Number of predicted tokens of the global batch, the same in every row."""
    candidates: Int[Array, " batch"]
    """Number of tokens of the row that may be hidden."""
    pair_positions: Int[Array, " batch"]
    """Position of the begin token of each row's pair."""
    pair_labels: Int[Array, " batch"]
    """0 where the texts of the pair follow each other, 1 where they do not."""
    pair_weights: Float[Array, " batch"]
    """Weights of the pairs, 0 for a row without one; they add up to one over the global batch."""
    pair_total: Float[Array, " batch"]
    """Number of pairs of the global batch, the same in every row."""


@dataclass(frozen=True)
@checked
class MaskedLM(Objective):
    """Predicts hidden tokens from both sides (Devlin et al. 2019, section 3.1)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    encoder: TransformerConfig
    """Network that sees a row from both sides; the head is tied to its token embeddings."""
    rate: float = 0.15
    """Fraction of the text tokens of each row that are hidden and predicted."""
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Fractions of the hidden tokens that become the mask token, a random token, and stay unchanged."""
    masking: Masking = "tokens"
    """Whether single tokens, whole words or spans of words are hidden."""
    span_stop: float = 0.2
    """Probability that a span ends after a word; for `masking="spans"`."""
    span_limit: int = 10
    """Largest number of words of a span; for `masking="spans"`."""
    second_task: NextSentence | SentenceOrder | None = None
    """Task on pairs of texts beside masked LM; None for none."""
    label_smoothing: float = 0.0
    """Share of the target's probability that is spread over the vocabulary, from 0 to below 1."""

    def __post_init__(self) -> None:
        check_masking(self)
        check_share(self, "label_smoothing")
        check_share(self, "span_stop", zero=False, one=True)
        check_at_least(self, 1, "span_limit")
        if self.encoder.causal:
            raise InputError("masked LM reads from both sides; set encoder.causal to False")
        if self.second_task is not None and self.encoder.segment_types < 2:
            raise InputError("a second task needs encoder.segment_types=2, one for each text")

    def init(self, key: Array, spec: Any) -> MaskedLanguageModel:
        """Makes the encoder with its heads for rows as in `spec`, with parameters drawn by `key`."""
        check_length(self.encoder, spec.length, network="encoder")
        return MaskedLanguageModel(
            key, self.encoder, spec.vocab_size, with_pairs=self.second_task is not None
        )

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Makes pairs, hides tokens, and normalises weights over the global batch.

        Args:
          batch: Rows as they were read, tokens `[batch, length]`.
          key: Random key.
        """
        pair_key, choice_key, replacement_key = jax.random.split(key, 3)
        tokens, vocabulary = batch
        rows = tokens.shape[0]
        types = jnp.zeros_like(tokens)
        pair_positions = pair_labels = jnp.zeros(rows, jnp.int32)
        pair_valid = jnp.zeros(rows, bool)
        if self.second_task is not None:
            pairs = self.second_task.pair(pair_key, tokens, vocabulary)
            tokens, types, pair_positions, pair_labels, pair_valid = pairs
        hidden = choose_tokens(
            choice_key,
            tokens,
            vocabulary,
            rate=self.rate,
            masking=self.masking,
            span_stop=self.span_stop,
            span_limit=self.span_limit,
        )
        targets = read_at(tokens, hidden.positions)
        weights, total = share_evenly(hidden.real)
        pair_weights, pair_total = share_evenly(pair_valid)
        return Examples(
            inputs=replace_tokens(
                replacement_key, tokens, hidden, vocabulary, self.shares, masking=self.masking
            ),
            segments=segments_of(tokens, vocabulary.begin, vocabulary.pad),
            types=types,
            positions=hidden.positions,
            targets=targets,
            weights=weights,
            byte_lengths=vocabulary.byte_length[targets],
            total=jnp.broadcast_to(total, rows),
            candidates=(~vocabulary.special[tokens]).sum(axis=1),
            pair_positions=pair_positions,
            pair_labels=pair_labels,
            pair_weights=pair_weights,
            pair_total=jnp.broadcast_to(pair_total, rows),
        )

    def loss(
        self, model: MaskedLanguageModel, state: Any, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, dict[str, Ratio]]]:
        """Computes the weighted sum of the losses of these examples.

        Only the states at predicted positions are multiplied with the vocabulary.

        Args:
          model: The encoder with its heads.
          state: Returned as it is.
          examples: Corrupted rows, `[batch, length]`.
          key: Random key of dropout; None for no dropout.

        Returns:
          The loss in nats, a scalar, and (the state, metrics by name).
        """
        types = None if self.second_task is None else examples.types
        states = model.encoder(examples.inputs, examples.segments, types=types, key=key)
        hidden = read_at(states, examples.positions)
        nats, correct = token_losses(
            model.token_head(hidden),
            model.output_embedding(),
            examples.targets,
            examples.weights,
            bias=model.output_bias[...],
            label_smoothing=self.label_smoothing,
        )
        metrics = token_metrics(
            nats, correct, examples.weights, examples.byte_lengths, examples.total[0]
        )
        hidden_tokens = metrics["loss"].weight
        metrics["hidden"] = Ratio(hidden_tokens, examples.candidates.sum().astype(jnp.float32))
        if self.second_task is None:
            return nats, (state, metrics)
        pair_nats, pair_metrics = self._pair_loss(model, states, examples)
        return nats + pair_nats, (state, metrics | pair_metrics)

    def _pair_loss(
        self, model: MaskedLanguageModel, states: Array, examples: Examples
    ) -> tuple[Float[Array, ""], dict[str, Ratio]]:
        first = read_at(states, examples.pair_positions[:, None])[:, 0]
        logits = model.pair_head(first)
        weights, labels = examples.pair_weights, examples.pair_labels
        nats = losses.next_sentence(logits, labels, weights, normalize=False)
        right, total = (jnp.argmax(logits, axis=-1) == labels) * weights, examples.pair_total[0]
        sums = {"pair_loss": nats, "pair_accuracy": right.sum()}
        return nats, {name: Ratio(sum * total, weights.sum() * total) for name, sum in sums.items()}


def guess(
    model: MaskedLanguageModel,
    tokens: Int[Array, "batch length"],
    vocabulary: Vocabulary,
    positions: Int[Array, " batch"],
    count: int = 5,
) -> tuple[Float[Array, "batch count"], Int[Array, "batch count"]]:
    """Returns the most probable tokens at one masked position of every row.

    Args:
      model: A model that masked LM has trained.
      tokens: Rows with a mask token, `[batch, length]`.
      vocabulary: Which tokens are special; those are never returned.
      positions: Position of the mask token of each row, `[batch]`.
      count: How many tokens are returned.

    Returns:
      Probabilities in falling order, `[batch, count]`, and ids of the tokens, `[batch, count]`.
    """
    segments = segments_of(tokens, vocabulary.begin, vocabulary.pad)
    states = model.encoder(tokens, segments, types=None, key=None)
    hidden = read_at(states, positions[:, None])[:, 0]
    kernel = model.output_embedding().astype(hidden.dtype)
    products = jnp.matmul(model.token_head(hidden), kernel.T, preferred_element_type=jnp.float32)
    logits = products + model.output_bias[...][None]
    logits = jnp.where(vocabulary.special[None], -jnp.inf, logits)
    return jax.lax.top_k(jax.nn.softmax(logits), count)
