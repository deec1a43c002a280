"""Causal language modelling: predict every token from those before it in its document.

    loss = - sum over places i of w_i log p(x_(i+1) | x_1 … x_i)

Radford et al. 2018, "GPT", section 3.1. The end of a document is predicted, its begin is not.

With `prefix`, a prefix LM: every document is cut at a random place; what stands before it is seen from
both sides and not predicted (Raffel et al. 2020, "T5", sections 3.2.1 and 3.2.3).

    batch    rows                       vocab    size of the vocabulary
    length   tokens of a row
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.errors import InputError
from jaxssl.models.layers.packing import positions_of, segments_of
from jaxssl.models.pretraining.causal_language_model import CausalLanguageModel
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.batches.batch import (
    Ratio,
    Text,
    following_tokens,
    share_evenly,
    token_metrics,
)
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.corruption.positions import count_at, read_at
from jaxssl.objectives.prediction.token_losses import token_losses


class Examples(NamedTuple):
    """Rows, the token that follows each place, and weights that add up to one."""

    inputs: Int[Array, "batch length"]
    segments: Int[Array, "batch length"]
    targets: Int[Array, "batch length"]
    weights: Float[Array, "batch length"]
    byte_lengths: Int[Array, "batch length"]
    prefix: Bool[Array, "batch length"]  # places that are seen by all of their document
    total: Float[Array, " batch"]  # predicted tokens of the global batch, the same in every row


@dataclass(frozen=True)
class CausalLM(Objective):
    """Predict the next token (Radford et al. 2018, section 3.1)."""

    decoder: TransformerConfig
    prefix: bool = False  # a random prefix of every document is seen from both sides
    label_smoothing: float = 0.0
    z_loss: float = 0.0  # weight of log^2 Z, which keeps logits small (Chowdhery et al. 2022, 5)

    def __post_init__(self) -> None:
        if not self.decoder.causal:
            raise InputError("causal LM must not see what it predicts; set decoder.causal to True")
        if self.decoder.table_width != self.decoder.width:
            raise InputError(
                f"embedding_width={self.decoder.embedding_width} is not the width "
                f"{self.decoder.width}: the head is the embedding itself; set it to None"
            )

    def network(self, model: CausalLanguageModel) -> Any:
        """Gives the decoder, which finetuning and embedding take over."""
        return model.decoder

    def finetuning_config(self, model: CausalLanguageModel) -> TransformerConfig:
        """Gives the decoder's configuration; after a prefix LM it may see all of a text from both sides."""
        return replace(self.decoder, causal=False) if self.prefix else self.decoder

    def init(self, key: Array, spec: Any) -> CausalLanguageModel:
        """The decoder; its head is tied to the embedding."""
        if spec.length > self.decoder.max_length:
            raise InputError(
                f"rows of {spec.length} tokens exceed max_length {self.decoder.max_length} of the "
                "model; prepare shorter rows or raise --objective.decoder.max-length"
            )
        return CausalLanguageModel(key, self.decoder, spec.vocab_size)

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Nothing is hidden: shifts, and normalises weights over the global batch."""
        tokens, vocabulary = batch
        segments = segments_of(tokens, vocabulary.begin, vocabulary.pad)
        targets, is_predicted = following_tokens(tokens, vocabulary)
        prefix = jnp.zeros(tokens.shape, bool)
        if self.prefix:
            prefix = random_prefix(key, segments)
            is_predicted &= ~jnp.pad(prefix[:, 1:], ((0, 0), (0, 1)))
        weights, total = share_evenly(is_predicted)
        return Examples(
            inputs=tokens,
            segments=segments,
            targets=targets,
            weights=weights,
            byte_lengths=vocabulary.byte_length[targets],
            prefix=prefix,
            total=jnp.broadcast_to(total, tokens.shape[0]),
        )

    def loss(
        self, model: CausalLanguageModel, state: Any, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, dict[str, Ratio]]]:
        """The weighted sum over these examples; logits are never held whole."""
        prefix = examples.prefix if self.prefix else None
        states = model.decoder(examples.inputs, examples.segments, prefix=prefix, key=key)
        nats, correct = token_losses(
            states,
            model.decoder.tokens.embedding[...],
            examples.targets,
            examples.weights,
            label_smoothing=self.label_smoothing,
            z_loss=self.z_loss,
        )
        metrics = token_metrics(
            nats, correct, examples.weights, examples.byte_lengths, examples.total[0]
        )
        return nats, (state, metrics)


def random_prefix(key: Array, segments: Int[Array, "batch length"]) -> Bool[Array, "batch length"]:
    """The first 1 to size - 1 places of every document, all sizes alike likely."""
    length = segments.shape[1]
    sizes = count_at(segments, length + 1, segments > 0)
    cuts = 1 + jnp.floor(jax.random.uniform(key, sizes.shape) * (sizes - 1)).astype(jnp.int32)
    return (segments > 0) & (positions_of(segments) < read_at(cuts, segments))
