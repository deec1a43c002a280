"""Masked embeddings: predict a vector of every hidden token instead of its name.

    loss = sum over hidden places i of w_i mean_d (f(corrupted row)_id - t_id)^2

    frozen    t_i = the embedding of the hidden token as it was before the first step, standardised
    teacher   t_i = mean over the last K layers of what the teacher makes of the whole row, standardised;
              teacher <- momentum teacher + (1 - momentum) student after every step

Baevski et al. 2022, "data2vec", section 3 (theirs is a smooth L1 whose bend, at 4 deviations, standardised
targets hardly reach; their student and teacher share embeddings, ours do not). Tokens are hidden as in
`masked_lm.py`.

    batch    rows                       masked   places of a row that are predicted, static
    length   tokens of a row            width    of the encoder's states
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.errors import InputError
from jaxssl.losses.unit_vectors import to_unit
from jaxssl.models.layers.dense import standardize
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.pretraining.embedding_regressor import EmbeddingRegressor
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.batches.batch import Ratio, Text, share_evenly
from jaxssl.objectives.contract import Objective, moving_average
from jaxssl.objectives.corruption.masking import (
    Masking,
    choose_tokens,
    replace_tokens,
)
from jaxssl.objectives.corruption.positions import read_at

Metrics = dict[str, Ratio]
EPSILON = 1e-6  # added to the variance of a target


class Examples(NamedTuple):
    """Corrupted rows beside the whole ones, and which places are predicted."""

    inputs: Int[Array, "batch length"]
    tokens: Int[Array, "batch length"]
    segments: Int[Array, "batch length"]
    positions: Int[Array, "batch masked"]
    weights: Float[Array, "batch masked"]
    total: Float[Array, " batch"]  # hidden tokens of the global batch, the same in every row


@dataclass(frozen=True)
class MaskedEmbedding(Objective):
    """Predict vectors of hidden tokens (Baevski et al. 2022, section 3)."""

    encoder: TransformerConfig
    targets: Literal["teacher", "frozen"] = "teacher"
    last: int = 10  # layers that the teacher's targets are a mean of, at most all
    momentum: float = 0.999  # of the teacher at the first step …
    momentum_end: float = 0.9999  # … growing evenly up to this
    momentum_steps: int = 100_000  # in so many steps
    rate: float = 0.15  # share of a row's text tokens that are predicted
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)  # of them: masked, random, unchanged
    masking: Masking = "tokens"  # or whole words, or spans of words

    def __post_init__(self) -> None:
        if self.targets not in ("teacher", "frozen"):
            raise InputError(f"targets={self.targets!r} is unknown; use teacher or frozen")
        for name in ("last", "momentum_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("momentum", "momentum_end"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)} must lie in [0, 1], e.g. 0.999")
        if not 0 < self.rate < 1:
            raise InputError(f"rate={self.rate} must lie between 0 and 1, e.g. 0.15")
        if min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise InputError(f"shares={self.shares} must be non-negative and add up to 1")
        if self.masking not in ("tokens", "words", "spans"):
            raise InputError(f"masking={self.masking!r} is unknown; use tokens, words or spans")
        if self.targets == "frozen" and self.encoder.table_width != self.encoder.width:
            raise InputError(
                "frozen targets are as wide as the states; leave embedding_width at None"
            )
        if self.encoder.causal:
            raise InputError(
                "masked embeddings are read from both sides; set encoder.causal to False"
            )

    def init(self, key: Array, spec: Any) -> EmbeddingRegressor:
        """The encoder with its head, for rows as `spec` describes them."""
        if spec.length > self.encoder.max_length:
            raise InputError(
                f"rows of {spec.length} tokens exceed max_length {self.encoder.max_length} of the "
                "model; prepare shorter rows or raise --objective.encoder.max-length"
            )
        return EmbeddingRegressor(key, self.encoder, spec.vocab_size)

    def init_state(self, model: EmbeddingRegressor) -> Any:
        """What targets are made of: the whole encoder, or its token embeddings."""
        encoder = model.encoder
        if self.targets == "teacher":
            return {"encoder": jax.tree.map(jnp.copy, encoder)}
        return {"encoder": {"tokens": {"embedding": jnp.copy(encoder.tokens.embedding[...])}}}

    def follow(self, state: Any, model: EmbeddingRegressor, step: Int[Array, ""]) -> Any:
        """The teacher comes a little nearer to the student."""
        if self.targets == "frozen":
            return state
        grown = jnp.minimum(step / self.momentum_steps, 1.0)
        momentum = self.momentum + (self.momentum_end - self.momentum) * grown
        return {"encoder": moving_average(state["encoder"], model.encoder, momentum)}

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Hides tokens, and normalises weights over the global batch."""
        choice_key, replacement_key = jax.random.split(key)
        tokens, vocabulary = batch
        hidden = choose_tokens(choice_key, tokens, vocabulary, rate=self.rate, masking=self.masking)
        weights, total = share_evenly(hidden.real)
        return Examples(
            inputs=replace_tokens(replacement_key, tokens, hidden, vocabulary, self.shares),
            tokens=tokens,
            segments=segments_of(tokens, vocabulary.begin, vocabulary.pad),
            positions=hidden.positions,
            weights=weights,
            total=jnp.broadcast_to(total, tokens.shape[0]),
        )

    def loss(
        self, model: EmbeddingRegressor, state: Any, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """The weighted sum over these examples; the targets are not differentiated."""
        states = model.encoder(examples.inputs, examples.segments, key=key)
        predicted = model.head(read_at(states, examples.positions)).astype(jnp.float32)
        targets = jax.lax.stop_gradient(self.targets_of(state, examples))
        error = losses.masked_reconstruction(predicted, targets, examples.weights, normalize=False)
        return error, (state, self._metrics(error, predicted, targets, examples))

    def targets_of(self, state: Any, examples: Examples) -> Float[Array, "batch masked width"]:
        """What is to be predicted at every hidden place."""
        if self.targets == "frozen":
            table = state["encoder"]["tokens"]["embedding"]
            return standardize(table[read_at(examples.tokens, examples.positions)], EPSILON)
        whole = state["encoder"].mean_of_layers(examples.tokens, examples.segments, self.last)
        return read_at(whole, examples.positions)

    def _metrics(
        self, error: Array, predicted: Array, targets: Array, examples: Examples
    ) -> Metrics:
        """The loss; the mean cosine; and how far targets lie from their mean, 0 after a collapse."""
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
