"""Masked language modelling: predict hidden tokens from both sides.

    loss = - sum over hidden places i of w_i log p(x_i | corrupted row)  [+ second task]

Devlin et al. 2019, "BERT", section 3.1. A share `rate` of the tokens of every row is hidden, anew at
every step, on the device. The second task is in `sentence_pairs.py`.

    batch    rows                       masked   places of a row that are predicted, static
    length   tokens of a row            vocab    size of the vocabulary
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.errors import InputError
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.pretraining.masked_language_model import MaskedLanguageModel
from jaxssl.models.transformer_config import TransformerConfig
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
    """Corrupted rows and what is to be predicted; the weights of each task add up to one."""

    inputs: Int[Array, "batch length"]
    segments: Int[Array, "batch length"]
    types: Int[Array, "batch length"]
    positions: Int[Array, "batch masked"]
    targets: Int[Array, "batch masked"]
    weights: Float[Array, "batch masked"]
    byte_lengths: Int[Array, "batch masked"]
    total: Float[Array, " batch"]  # hidden tokens of the global batch, the same in every row
    pair_positions: Int[Array, " batch"]
    pair_labels: Int[Array, " batch"]
    pair_weights: Float[Array, " batch"]
    pair_total: Float[Array, " batch"]


@dataclass(frozen=True)
class MaskedLM(Objective):
    """Predict hidden tokens from both sides (Devlin et al. 2019, section 3.1)."""

    encoder: TransformerConfig
    rate: float = 0.15  # share of a row's text tokens that are predicted
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)  # of them: masked, random, unchanged
    masking: Masking = "tokens"  # or whole words, or spans of words
    span_stop: float = 0.2  # spans: probability that a span ends after a word
    span_limit: int = 10  # spans: most words of a span
    second_task: NextSentence | SentenceOrder | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_masking(self.rate, self.shares, self.masking)
        if self.encoder.causal:
            raise InputError("masked LM reads from both sides; set encoder.causal to False")
        if self.second_task is not None and self.encoder.segment_types < 2:
            raise InputError("a second task needs encoder.segment_types=2, one for each text")

    def init(self, key: Array, spec: Any) -> MaskedLanguageModel:
        """The encoder with its heads, for rows as `spec` describes them."""
        if spec.length > self.encoder.max_length:
            raise InputError(
                f"rows of {spec.length} tokens exceed max_length {self.encoder.max_length} of the "
                "model; prepare shorter rows or raise --objective.encoder.max-length"
            )
        return MaskedLanguageModel(
            key, self.encoder, spec.vocab_size, with_pairs=self.second_task is not None
        )

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Makes pairs, hides tokens, and normalises weights over the global batch."""
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
            inputs=replace_tokens(replacement_key, tokens, hidden, vocabulary, self.shares),
            segments=segments_of(tokens, vocabulary.begin, vocabulary.pad),
            types=types,
            positions=hidden.positions,
            targets=targets,
            weights=weights,
            byte_lengths=vocabulary.byte_length[targets],
            total=jnp.broadcast_to(total, rows),
            pair_positions=pair_positions,
            pair_labels=pair_labels,
            pair_weights=pair_weights,
            pair_total=jnp.broadcast_to(pair_total, rows),
        )

    def loss(
        self, model: MaskedLanguageModel, state: Any, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, dict[str, Ratio]]]:
        """The weighted sum over these examples; only places that are predicted reach the vocabulary."""
        types = None if self.second_task is None else examples.types
        states = model.encoder(examples.inputs, examples.segments, types=types, key=key)
        hidden = read_at(states, examples.positions)
        nats, correct = token_losses(
            model.token_head(hidden),
            model.encoder.tokens.embedding[...],
            examples.targets,
            examples.weights,
            bias=model.output_bias[...],
            label_smoothing=self.label_smoothing,
        )
        metrics = token_metrics(
            nats, correct, examples.weights, examples.byte_lengths, examples.total[0]
        )
        if self.second_task is None:
            return nats, (state, metrics)
        pair_nats, metrics["pair_accuracy"] = self._pair_loss(model, states, examples)
        return nats + pair_nats, (state, metrics)

    def _pair_loss(
        self, model: MaskedLanguageModel, states: Array, examples: Examples
    ) -> tuple[Float[Array, ""], Ratio]:
        first = read_at(states, examples.pair_positions[:, None])[:, 0]
        logits = model.pair_head(first)
        weights, labels = examples.pair_weights, examples.pair_labels
        nats = losses.next_sentence(logits, labels, weights, normalize=False)
        right = (jnp.argmax(logits, axis=-1) == labels) * weights * examples.pair_total[0]
        return nats, Ratio(right.sum(), weights.sum() * examples.pair_total[0])


def guess(
    model: MaskedLanguageModel,
    tokens: Int[Array, "batch length"],
    vocabulary: Vocabulary,
    positions: Int[Array, " batch"],
    count: int = 5,
) -> tuple[Float[Array, "batch count"], Int[Array, "batch count"]]:
    """The most probable tokens, and their probabilities, at one masked place of every row."""
    segments = segments_of(tokens, vocabulary.begin, vocabulary.pad)
    states = model.encoder(tokens, segments, types=None, key=None)
    hidden = read_at(states, positions[:, None])[:, 0]
    kernel = model.encoder.tokens.embedding[...].astype(hidden.dtype)
    logits = model.token_head(hidden) @ kernel.T + model.output_bias[...][None]
    logits = jnp.where(vocabulary.special[None], -jnp.inf, logits.astype(jnp.float32))
    return jax.lax.top_k(jax.nn.softmax(logits), count)
