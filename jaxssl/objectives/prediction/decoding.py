"""What objectives on an encoder-decoder share: rows that are read, rows that are written, and the loss.

loss = - sum over positions i of the written row of  w_i log p(y_(i+1) | y_1 … y_i, document read)

batch    rows                       written  tokens of a row that the decoder writes, static
read     tokens of an input row     vocab    rows of the embedding table, sentinels among them
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.models.encoder_decoder import EncoderDecoder, Memory
from jaxssl.models.layers.packing import positions_of
from jaxssl.models.transformer_config import TransformerConfig, check_length
from jaxssl.objectives.batches.batch import (
    Ratio,
    Vocabulary,
    following_tokens,
    share_evenly,
    token_metrics,
)
from jaxssl.objectives.prediction.token_losses import token_losses

Counts = dict[str, tuple[Float[Array, " batch"], Float[Array, " batch"]]]


class Examples(NamedTuple):
    """Rows for the encoder and for the decoder."""

    inputs: Int[Array, "batch read"]
    """Tokens that the encoder reads."""
    segments: Int[Array, "batch read"]
    """Number of the document of each token that is read, from 1; 0 for padding."""
    written: Int[Array, "batch written"]
    """Tokens that the decoder reads and predicts."""
    written_segments: Int[Array, "batch written"]
    """Number of the document that each written token belongs to, as in `segments`; 0 for padding."""
    targets: Int[Array, "batch written"]
    """The token that follows each written token."""
    weights: Float[Array, "batch written"]
    """Weights of the targets; they add up to one over the global batch."""
    byte_lengths: Int[Array, "batch written"]
    """UTF-8 bytes that each target stands for."""
    total: Float[Array, " batch"]
    """Number of predicted tokens of the global batch, the same in every row."""
    counts: Counts
    """Metrics of the corruption by name: totals and weights of each row."""

    @classmethod
    def of(
        cls,
        inputs: Int[Array, "batch read"],
        segments: Int[Array, "batch read"],
        written: Int[Array, "batch written"],
        written_segments: Int[Array, "batch written"],
        vocabulary: Vocabulary,
        counts: Counts,
    ) -> "Examples":
        """Makes examples with equal weights for all predicted tokens of the global batch.

        Args:
          inputs: Tokens that the encoder reads, `[batch, read]`.
          segments: Their documents, `[batch, read]`.
          written: Tokens that the decoder writes, `[batch, written]`.
          written_segments: Their documents, `[batch, written]`.
          vocabulary: Properties of the tokens. Ids above it are sentinels, which stand for no bytes.
          counts: Metrics of the corruption: totals and weights, `[batch]` each.
        """
        targets, is_predicted = following_tokens(written, vocabulary)
        weights, total = share_evenly(is_predicted)
        own = vocabulary.byte_length.size  # sentinels have higher ids and stand for no bytes
        lengths = vocabulary.byte_length[jnp.minimum(targets, own - 1)]
        return cls(
            inputs=inputs,
            segments=segments,
            written=written,
            written_segments=written_segments,
            targets=targets,
            weights=weights,
            byte_lengths=jnp.where(targets < own, lengths, 0),
            total=jnp.broadcast_to(total, written.shape[0]),
            counts=counts,
        )


def make_model(
    key: Array,
    encoder: TransformerConfig,
    decoder: TransformerConfig,
    vocab_size: int,
    *,
    read: int,
    written: int,
) -> EncoderDecoder:
    """Makes an encoder and a decoder with one embedding table.

    Args:
      key: Random key.
      encoder: Configuration of the encoder.
      decoder: Configuration of the decoder.
      vocab_size: Rows of the table, sentinels among them.
      read: Tokens of an input row.
      written: Tokens of a written row.

    Raises:
      InputError: The rows are longer than a network allows.
    """
    check_length(encoder, read, network="encoder")
    check_length(decoder, written, network="decoder")
    return EncoderDecoder(key, encoder, decoder, vocab_size)


def decoding_loss(
    model: EncoderDecoder,
    state: Any,
    examples: Examples,
    key: Array | None,
    *,
    bottleneck: int | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Float[Array, ""], tuple[Any, dict[str, Ratio]]]:
    """Computes the weighted sum of the losses of these examples.

    Args:
      model: Encoder and decoder.
      state: Returned as it is.
      examples: Rows, `[batch, read]` and `[batch, written]`.
      key: Random key of dropout; None for no dropout.
      bottleneck: How many states of every document the decoder sees, the first ones; None for all.
      label_smoothing: Share of the target's probability that is spread over the vocabulary.

    Returns:
      The loss in nats, a scalar, and (the state, metrics by name).
    """
    first, second = (None, None) if key is None else jax.random.split(key)
    states = model.encoder(examples.inputs, examples.segments, key=first)
    seen = examples.segments
    if bottleneck is not None:
        seen = jnp.where(positions_of(seen) < bottleneck, seen, 0)
    written = model.decode(
        examples.written, examples.written_segments, Memory(states, seen), key=second
    )
    nats, correct = token_losses(
        written,
        model.output_embedding(),
        examples.targets,
        examples.weights,
        label_smoothing=label_smoothing,
    )
    metrics = token_metrics(
        nats, correct, examples.weights, examples.byte_lengths, examples.total[0]
    )
    for name, (total, weight) in examples.counts.items():
        metrics[name] = Ratio(total.sum(), weight.sum())
    return nats, (state, metrics)
