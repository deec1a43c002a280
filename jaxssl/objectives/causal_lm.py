"""Causal language modelling: predict every token from the tokens before it in its document.

    loss = - sum over positions i of w_i log p(x_(i+1) | x_1 … x_i)

The end token of a document is predicted, its begin token is not.

With `prefix=True` it is a prefix LM: every document is split at a random position. Its first part is seen
from both sides and not predicted; the second part is predicted token by token.

Deviations from the papers, with the reason for each:
  - Attention and positions stay within a document; GPT-2 reads rows that run across documents, with an end
    token between them (a token is then predicted from text that has nothing to do with it).
  - The begin token of a document is never predicted (it follows from the end token).
  - Prefix LM: every document has a prefix of its own, its begin token included, where T5 splits a row once
    (rows are packed). The network is `gpt2()` or another, not T5's.
  - UniLM has the prefix LM's view, but predicts masked tokens of both parts, in turn with a masked LM and two
    causal ones; that is not here (it is another objective).
  - GPT-2's code draws initial positions with a standard deviation of 0.01; here it is 0.02, as for all other
    parameters (one rule for all networks). The first GPT, with its norms behind each part, is
    `gpt2(norm_first=False, final_norm=False, scale_residual=False, max_length=512)`.

References:
  Radford et al. 2018, "Improving language understanding by generative pre-training" (GPT), section 3.1;
  Radford et al. 2019 (GPT-2); Raffel et al. 2020, "T5", sections 3.2.1 and 3.2.3 (prefix LM); Dong et al.
  2019, "Unified language model pre-training" (UniLM).

    batch    rows                       vocab    size of the vocabulary
    length   tokens of a row
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.errors import InputError, check_at_least, check_share, checked
from jaxssl.models.layers.packing import positions_of, segments_of
from jaxssl.models.pretraining.causal_language_model import CausalLanguageModel
from jaxssl.models.transformer_config import TransformerConfig, check_length
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
    """Rows and what is predicted at each position."""

    inputs: Int[Array, "batch length"]
    """Tokens of the rows."""
    segments: Int[Array, "batch length"]
    """Number of the document of each token, from 1; 0 for padding."""
    targets: Int[Array, "batch length"]
    """The token that follows each token."""
    weights: Float[Array, "batch length"]
    """Weights of the targets; they add up to one over the global batch."""
    byte_lengths: Int[Array, "batch length"]
    """UTF-8 bytes that each target stands for."""
    prefix: Bool[Array, "batch length"]
    """Whether the whole document sees the token (prefix LM)."""
    total: Float[Array, " batch"]
    """Number of predicted tokens of the global batch, the same in every row."""


@dataclass(frozen=True)
@checked
class CausalLM(Objective):
    """Predicts the next token (Radford et al. 2018, section 3.1)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    decoder: TransformerConfig
    """Causal network; its head is tied to its token embeddings."""
    prefix: bool = False
    """Whether a random prefix of every document is seen from both sides and not predicted (prefix LM)."""
    label_smoothing: float = 0.0
    """Share of the target's probability that is spread over the vocabulary, from 0 to below 1."""
    z_loss: float = 0.0
    """Weight of log^2 Z, which keeps logits small (Chowdhery et al. 2022, "PaLM", section 5)."""

    def __post_init__(self) -> None:
        check_share(self, "label_smoothing")
        check_at_least(self, 0, "z_loss")
        if not self.decoder.causal:
            raise InputError("causal LM must not see what it predicts; set decoder.causal to True")
        if self.prefix and self.decoder.positions == "relative":
            raise InputError(
                "relative positions of a causal network look back alone; with prefix=True it is finetuned "
                "from both sides; set decoder.positions to 'rotary', or prefix to False"
            )
        if self.decoder.table_width != self.decoder.width:
            raise InputError(
                f"embedding_width={self.decoder.embedding_width} is not the width "
                f"{self.decoder.width}: the head is the embedding itself; set it to None"
            )

    def network(self, model: CausalLanguageModel) -> Any:
        """Returns the decoder of `model`, which finetuning and embedding take over."""
        return model.decoder

    def finetuning_config(self, model: CausalLanguageModel) -> TransformerConfig:
        """Returns the decoder's configuration (`model` is unused); after a prefix LM it is not causal."""
        return replace(self.decoder, causal=False) if self.prefix else self.decoder

    def init(self, key: Array, spec: Any) -> CausalLanguageModel:
        """Makes the decoder for rows as in `spec`, with parameters drawn by `key`."""
        check_length(self.decoder, spec.length, network="decoder")
        return CausalLanguageModel(key, self.decoder, spec.vocab_size)

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Finds the token that follows each position, and normalises weights over the global batch.

        Args:
          batch: Rows as they were read, tokens `[batch, length]`.
          key: Random key, which a prefix LM needs.
        """
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
        """Computes the weighted sum of the losses of these examples; logits are never held for a whole row.

        Args:
          model: The decoder.
          state: Returned as it is.
          examples: Rows, `[batch, length]`.
          key: Random key of dropout; None for no dropout.

        Returns:
          The loss in nats, a scalar, and (the state, metrics by name).
        """
        prefix = examples.prefix if self.prefix else None
        states = model.decoder(examples.inputs, examples.segments, prefix=prefix, key=key)
        nats, correct = token_losses(
            states,
            model.output_embedding(),
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
    """Chooses a prefix of 1 to size - 1 tokens of every document, all lengths equally likely.

    Args:
      key: Random key.
      segments: Number of the document of each token, from 1, `[batch, length]`; 0 for padding.

    Returns:
      Whether a token belongs to the prefix of its document, `[batch, length]`.
    """
    length = segments.shape[1]
    sizes = count_at(segments, length + 1, segments > 0)
    prefixes = 1 + jnp.floor(jax.random.uniform(key, sizes.shape) * (sizes - 1)).astype(jnp.int32)
    return (segments > 0) & (positions_of(segments) < read_at(prefixes, segments))
