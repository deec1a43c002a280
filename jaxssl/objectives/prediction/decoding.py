"""What objectives on an encoder-decoder share: a row to be read, a row to be written, and the loss.

loss = - sum over places i of the written row of w_i log p(y_(i+1) | y_1 … y_i, read document)

batch    rows                       written  tokens of a row that the decoder writes, static
read     tokens of an input row     vocab    rows of the table, sentinels among them
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.errors import InputError
from jaxssl.models.encoder_decoder import EncoderDecoder, Memory
from jaxssl.models.layers.packing import positions_of
from jaxssl.models.transformer_config import TransformerConfig
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
    """Rows for the encoder and for the decoder; the weights add up to one."""

    inputs: Int[Array, "batch read"]
    segments: Int[Array, "batch read"]
    written: Int[Array, "batch written"]
    written_segments: Int[Array, "batch written"]
    targets: Int[Array, "batch written"]
    weights: Float[Array, "batch written"]
    byte_lengths: Int[Array, "batch written"]
    total: Float[Array, " batch"]  # predicted tokens of the global batch, the same in every row
    counts: Counts  # what the corruption tells of itself: totals and weights, row by row

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
        """With targets, and weights that are the same for all predicted tokens of the global batch."""
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
    spec: Any,
    sentinels: int = 0,
) -> EncoderDecoder:
    """The two networks for rows as `spec` describes them; sentinels are rows above its vocabulary."""
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        if spec.length > network.max_length:
            raise InputError(
                f"rows of {spec.length} tokens exceed max_length {network.max_length} of the {name}; "
                f"prepare shorter rows or raise --objective.{name}.max-length"
            )
    return EncoderDecoder(key, encoder, decoder, spec.vocab_size + sentinels)


def decoding_loss(
    model: EncoderDecoder,
    state: Any,
    examples: Examples,
    key: Array | None,
    *,
    bottleneck: int | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Float[Array, ""], tuple[Any, dict[str, Ratio]]]:
    """The weighted sum over these examples; logits are never held whole.

    `bottleneck`: of every document the decoder sees the states of its first so many places.
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
        model.encoder.tokens.embedding[...],
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
