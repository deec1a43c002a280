"""Masked embeddings: predict a vector for every hidden token instead of its id (data2vec).

    loss = sum over hidden positions i of w_i mean_d (f(corrupted row)_id - t_id)^2

    frozen    t_i = the embedding of the hidden token as it was before the first step, standardised
    teacher   t_i = mean over the last K layers of the outputs of the teacher's feed-forward parts, each
              standardised, where the teacher reads the whole row;
              teacher <- momentum teacher + (1 - momentum) student after every step

The outputs are taken before they are added to the stream, and standardised over their width (a layer norm
without parameters, the paper's normalisation for text and images; for speech it normalises over time). Scores
that were measured while the targets were the states of whole layers do not hold for these.

Deviations from the paper, with the reason for each:
  - The loss is a squared error; theirs is a smooth L1 that becomes linear at 4 standard deviations (which
    standardised targets hardly reach), and its scale differs by a constant, which Adam takes away.
  - Student and teacher have embeddings of their own, and the teacher's follow as all else; in data2vec's code
    for text both have the student's (one rule for all parameters).
  - Text alone: there is no version for images or speech here.
  - `frozen` targets are none of the paper's, but a simple peer to compare with.
  - Tokens are hidden as in `masked_lm.py`, with its deviations from BERT's masking. The configuration of
    their code hides runs of four tokens, all of them by the mask token (the paper's text follows BERT).

References:
  Baevski et al. 2022, "data2vec", section 3.

    batch    rows                       masked   positions of a row that are predicted, static
    length   tokens of a row            width    width of the encoder's states
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.errors import InputError, check_at_least, check_choice, check_share, checked
from jaxssl.losses.unit_vectors import to_unit
from jaxssl.models.layers.dense import standardize
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.pretraining.embedding_regressor import EmbeddingRegressor
from jaxssl.models.transformer_config import TransformerConfig, check_length
from jaxssl.objectives.batches.batch import Ratio, Text, share_evenly
from jaxssl.objectives.contract import Objective, moving_average
from jaxssl.objectives.corruption.masking import (
    Masking,
    check_masking,
    choose_tokens,
    replace_tokens,
)
from jaxssl.objectives.corruption.positions import read_at

Metrics = dict[str, Ratio]
EPSILON = 1e-6  # added to the variance of a target


class Examples(NamedTuple):
    """Corrupted rows beside the whole ones, and which positions are predicted."""

    inputs: Int[Array, "batch length"]
    """Corrupted rows."""
    tokens: Int[Array, "batch length"]
    """Rows as they were."""
    segments: Int[Array, "batch length"]
    """Number of the document of each token, from 1; 0 for padding."""
    positions: Int[Array, "batch masked"]
    """Positions that are predicted."""
    weights: Float[Array, "batch masked"]
    """Weights of these positions, 0 where a row has fewer; they add up to one over the global batch."""
    total: Float[Array, " batch"]
    """Number of hidden tokens of the global batch, the same in every row."""


@dataclass(frozen=True)
@checked
class MaskedEmbedding(Objective):
    """Predicts vectors of hidden tokens (Baevski et al. 2022, section 3)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    encoder: TransformerConfig
    """Network that sees a row from both sides."""
    targets: Literal["teacher", "frozen"] = "teacher"
    """Whether targets are outputs of a teacher's feed-forward parts, or the token embeddings before the
    first step."""
    last: int = 10
    """Number of the teacher's last layers whose mean is the target; all layers where it has fewer."""
    momentum: float = 0.999
    """Momentum of the teacher at the first step, from 0 to 1."""
    momentum_end: float = 0.9999
    """Momentum after `momentum_steps` steps, up to which it grows linearly."""
    momentum_steps: int | None = None
    """Steps in which the momentum grows; None for those of the run."""
    rate: float = 0.15
    """Fraction of the text tokens of each row that are hidden and predicted."""
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Fractions of the hidden tokens that become the mask token, a random token, and stay unchanged."""
    masking: Masking = "tokens"
    """Whether single tokens, whole words or spans of words are hidden."""

    def __post_init__(self) -> None:
        check_choice(self, "targets", ("teacher", "frozen"))
        check_at_least(self, 1, "last", "momentum_steps")
        check_share(self, "momentum", "momentum_end", one=True)
        check_masking(self)
        if self.targets == "frozen" and self.encoder.table_width != self.encoder.width:
            raise InputError(
                f"embedding_width={self.encoder.embedding_width}: frozen targets must be as wide as the "
                "states; set encoder.embedding_width to None"
            )
        if self.encoder.causal:
            raise InputError(
                "masked embeddings are read from both sides; set encoder.causal to False"
            )

    def init(self, key: Array, spec: Any) -> EmbeddingRegressor:
        """Makes the encoder with its head for rows as in `spec`, with parameters drawn by `key`."""
        check_length(self.encoder, spec.length, network="encoder")
        return EmbeddingRegressor(key, self.encoder, spec.vocab_size)

    def init_state(self, model: EmbeddingRegressor) -> Any:
        """Copies what targets are made of: the encoder of `model`, or only its token embeddings."""
        encoder = model.encoder
        if self.targets == "teacher":
            return {"encoder": jax.tree.map(jnp.copy, encoder)}
        return {"encoder": {"tokens": {"embedding": jnp.copy(encoder.tokens.embedding[...])}}}

    def for_run(self, steps: int) -> "MaskedEmbedding":
        """Returns the objective whose momentum grows during a run of `steps` steps, if it is to follow it."""
        if self.momentum_steps is None:
            return replace(self, momentum_steps=steps)
        if self.targets == "teacher" and self.momentum_steps < steps and self.momentum_end == 1:
            raise InputError(
                f"momentum_steps={self.momentum_steps} is below steps={steps}: with momentum_end=1 the "
                "teacher would stand still from there on; set momentum_steps to None to let it follow steps"
            )
        return self

    def follow(self, state: Any, model: EmbeddingRegressor, step: Int[Array, ""]) -> Any:
        """Moves the teacher in `state` towards `model`, by the momentum of this `step`, a scalar."""
        if self.targets == "frozen":
            return state
        if self.momentum_steps is None:
            raise InputError("momentum_steps=None: call for_run(steps) of the objective first")
        grown = jnp.minimum(step / self.momentum_steps, 1.0)
        momentum = self.momentum + (self.momentum_end - self.momentum) * grown
        return {"encoder": moving_average(state["encoder"], model.encoder, momentum)}

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Hides tokens, and normalises weights over the global batch.

        Args:
          batch: Rows as they were read, tokens `[batch, length]`.
          key: Random key.
        """
        choice_key, replacement_key = jax.random.split(key)
        tokens, vocabulary = batch
        hidden = choose_tokens(choice_key, tokens, vocabulary, rate=self.rate, masking=self.masking)
        weights, total = share_evenly(hidden.real)
        return Examples(
            inputs=replace_tokens(
                replacement_key, tokens, hidden, vocabulary, self.shares, masking=self.masking
            ),
            tokens=tokens,
            segments=segments_of(tokens, vocabulary.begin, vocabulary.pad),
            positions=hidden.positions,
            weights=weights,
            total=jnp.broadcast_to(total, tokens.shape[0]),
        )

    def loss(
        self, model: EmbeddingRegressor, state: Any, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """Computes the weighted sum of the errors of these examples; targets get no gradient.

        Args:
          model: The encoder with its head.
          state: What targets are made of; returned as it is.
          examples: Corrupted and whole rows, `[batch, length]`.
          key: Random key of dropout in the student; None for no dropout.

        Returns:
          The loss, a scalar, and (the state, metrics by name).
        """
        states = model.encoder(examples.inputs, examples.segments, key=key)
        predicted = model.head(read_at(states, examples.positions)).astype(jnp.float32)
        targets = jax.lax.stop_gradient(self.targets_of(state, examples))
        error = losses.masked_reconstruction(predicted, targets, examples.weights, normalize=False)
        return error, (state, self._metrics(error, predicted, targets, examples))

    def targets_of(self, state: Any, examples: Examples) -> Float[Array, "batch masked width"]:
        """Computes the vectors that are to be predicted.

        Args:
          state: The teacher, or the frozen token embeddings.
          examples: Whole rows, `[batch, length]`, and the hidden positions.

        Returns:
          Targets, `[batch, masked, width]`.
        """
        if self.targets == "frozen":
            table = state["encoder"]["tokens"]["embedding"]
            return standardize(table[read_at(examples.tokens, examples.positions)], EPSILON)
        whole = state["encoder"].mean_of_feed_forwards(
            examples.tokens, examples.segments, self.last
        )
        return read_at(whole, examples.positions)

    def _metrics(
        self, error: Array, predicted: Array, targets: Array, examples: Examples
    ) -> Metrics:
        """Returns loss, mean cosine, and variance of the targets about their mean, 0 after a collapse."""
        weights, total = examples.weights[..., None], examples.total[0]
        count = weights.sum()
        mean = (weights * targets).sum(axis=(0, 1)) / jnp.maximum(count, 1e-30)
        apart = jnp.square(targets - mean[None, None]).mean(axis=-1, keepdims=True)
        cosines = (to_unit(predicted) * to_unit(targets)).sum(axis=-1, keepdims=True)
        sums = {
            "loss": error,
            "cosine": (weights * cosines).sum(),
            "spread": (weights * apart).sum(),
        }
        return {name: Ratio(sum * total, count * total) for name, sum in sums.items()}
