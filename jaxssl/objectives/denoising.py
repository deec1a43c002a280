"""Denoising: read a damaged text, write the whole of it.

    text      begin A B C . D E . end
    inputs    begin D _ . A C . end            sentences permuted, E infilled, B deleted
    written   begin A B C . D E . end

    loss = - sum over tokens of the text of w_i log p(x_(i+1) | x_1 … x_i, inputs)

Lewis et al. 2020, "BART", section 2.2, anew at every step, on the device, in this order:

    sentences permuted   the sentences of every document change places; they end at full stops,
                         exclamation and question marks
    tokens deleted       the inputs do not tell where
    text infilled        spans with lengths of Poisson(3) are each replaced by one mask; one of no
                         length inserts a mask

Each can be switched off. BART has infilling of 30 % and permutation (section 5.1).

With all of them off and a `bottleneck` this is an autoencoder: the decoder sees nothing of a document but
the states of its first few places, a fixed number of vectors (one of them: Wang et al. 2021, "TSDAE").

Rows are packed: nothing leaves its document, and a document is written from itself alone.

    batch    rows                       length   tokens of a row
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.errors import InputError
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
class Denoising(Objective):
    """Write the text of which the inputs are a damaged copy (Lewis et al. 2020, section 2.2)."""

    encoder: TransformerConfig
    decoder: TransformerConfig
    infilling: float = 0.3  # share of the text tokens that are hidden in spans; 0: none
    mean_span: float = 3.0  # of the Poisson distribution
    deletion: float = 0.0  # share of the text tokens that are deleted
    permutation: bool = True  # of the sentences of every document
    bottleneck: int | None = None  # states of a document that the decoder sees; None: all
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("infilling", "deletion"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must lie in [0, 1), e.g. 0.3")
        if self.mean_span <= 0:
            raise InputError(f"mean_span={self.mean_span} must be above 0, e.g. 3")
        if self.bottleneck is not None and self.bottleneck < 1:
            raise InputError(f"bottleneck={self.bottleneck} must be at least 1; None has none")
        if not (self.infilling or self.deletion or self.permutation or self.bottleneck):
            raise InputError(
                "nothing is damaged and the decoder sees all: it would learn to copy; set infilling, "
                "deletion, permutation or, for an autoencoder, bottleneck"
            )

    def init(self, key: Array, spec: Any) -> EncoderDecoder:
        """Both networks."""
        return make_model(key, self.encoder, self.decoder, spec)

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Damages a copy of the rows, and normalises weights over the global batch."""
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
        """The weighted sum over these examples; logits are never held whole."""
        return decoding_loss(
            model,
            state,
            examples,
            key,
            bottleneck=self.bottleneck,
            label_smoothing=self.label_smoothing,
        )


def permute_sentences(key: Array, tokens: Rows, vocabulary: Vocabulary) -> Rows:
    """Every document's sentences in an order drawn anew; begin, end and padding stay."""
    segments = segments_of(tokens, vocabulary.begin, vocabulary.pad)
    ends = vocabulary.ends_sentence[tokens] | (tokens == vocabulary.begin)
    starts = jnp.pad(ends[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    sentence = jnp.cumsum(starts, axis=1) - 1
    rank = read_at(jax.random.uniform(key, tokens.shape), sentence)
    rank = jnp.where(tokens == vocabulary.begin, -1.0, rank)
    rank = jnp.where(tokens == vocabulary.end, 2.0, rank)
    segments = jnp.where(tokens == vocabulary.pad, tokens.shape[1] + 1, segments)
    keys = (segments, rank, sentence)  # two sentences of one rank must not mix
    return jax.lax.sort((*keys, tokens), dimension=1, is_stable=True, num_keys=3)[3]


def delete_tokens(key: Array, tokens: Rows, vocabulary: Vocabulary, rate: float) -> Rows:
    """The rows without a share of their text tokens, chosen one by one; padding follows."""
    chosen = choose_tokens(key, tokens, vocabulary, rate=rate)
    is_deleted = write_at(jnp.zeros(tokens.shape, bool), chosen.positions, chosen.real)
    is_kept = ~is_deleted & (tokens != vocabulary.pad)
    places = jnp.where(is_kept, jnp.cumsum(is_kept, axis=1) - 1, tokens.shape[1])
    return put_at(places, tokens.shape[1], tokens, vocabulary.pad)


def infill(key: Array, tokens: Rows, vocabulary: Vocabulary, rate: float, mean_span: float) -> Rows:
    """Spans of every row each replaced by one mask. What has no room behind many masks falls away."""
    length = tokens.shape[1]
    is_text = ~vocabulary.special[tokens]
    spans = poisson_spans(key, is_text, rate=rate, mean_span=mean_span)
    is_kept = (tokens != vocabulary.pad) & (spans.number < 0)
    sizes = is_kept.astype(jnp.int32) + run_starts(spans.number) + spans.empty
    ends = jnp.cumsum(sizes, axis=1)
    # Between kept tokens lie masks, behind the last pad.
    is_used = jnp.arange(length)[None] < ends[:, -1:]
    rows = jnp.where(is_used, vocabulary.mask, vocabulary.pad)
    places = jnp.where(is_kept, jnp.minimum(ends - 1, length), length)
    kept = put_at(places, length, tokens, -1)
    return jnp.where(kept < 0, rows, kept)
