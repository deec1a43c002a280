"""ELECTRA: a small masked LM replaces tokens by plausible ones, and the encoder detects which were replaced.

    loss = - sum over hidden positions i of w_i log p_G(x_i | masked row)
           + 50 sum over positions j that are not padding of v_j bce(D(row with G's tokens), was j replaced?)

The generator G is a narrower copy of the discriminator D's shape, and shares D's embeddings. Its tokens are
drawn (Gumbel-max) in the same pass over the vocabulary as its loss. D's loss has no gradient with respect to
the drawn tokens: it reaches G only through the shared embeddings. A token that G guesses right counts as
original.

Deviations from the paper, with the reason for each:
  - Rows are packed with several documents, and attention stays within a document (as in `masked_lm.py`). In
    their data nine rows in ten hold two segments with types of their own; here all tokens are of type 0
    (there is no task on pairs).
  - 15 % of the hidden tokens stay as they are in the generator's inputs, as in their code; in the paper all
    become the mask token.
  - The generator is as deep as the discriminator and has a whole number of heads, as in their code; what
    `generator_size` asks for is rounded to heads.
  - Each of the two losses is divided by the number of its tokens in the global batch, as in their code, which
    divides on every device by its own (the mean would depend on the mesh).
  - What is hidden is drawn anew at every step, as in their code. That draws positions with replacement, so
    that some count twice, and rounds the share of all tokens, special ones among them; here positions differ
    and the share is that of the text tokens.
  - All initial kernels have a standard deviation of 0.02; in their code the last layer of the discriminator
    and the layer that widens embeddings are drawn by Glorot's rule (one rule for all kernels).
  - The learning rate, decay and batch are those of a recipe, not of this file.

References:
  Clark et al. 2020, "ELECTRA: pre-training text encoders as discriminators rather than generators",
  section 2.

    batch    rows                       masked   positions of a row that are predicted, static
    length   tokens of a row            vocab    size of the vocabulary
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxssl import losses
from jaxssl.errors import InputError, check_above, check_at_least, check_share, checked
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.pretraining.replaced_tokens import ReplacedTokenModel, generator_of
from jaxssl.models.transformer_config import TransformerConfig, check_length
from jaxssl.objectives.batches.batch import (
    Metric,
    Ratio,
    SumOfRatios,
    Text,
    separation,
    share_evenly,
    token_metrics,
)
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.corruption.masking import (
    Masking,
    check_masking,
    choose_tokens,
    replace_tokens,
)
from jaxssl.objectives.corruption.positions import read_at, write_at
from jaxssl.objectives.prediction.token_losses import token_losses_and_samples


class Examples(NamedTuple):
    """Masked rows for the generator, and the rows as they were."""

    inputs: Int[Array, "batch length"]
    """Masked rows."""
    tokens: Int[Array, "batch length"]
    """Rows as they were."""
    segments: Int[Array, "batch length"]
    """Number of the document of each token, from 1; 0 for padding."""
    positions: Int[Array, "batch masked"]
    """Positions at which the generator predicts."""
    weights: Float[Array, "batch masked"]
    """Weights of these positions, 0 where a row has fewer; they add up to one over the global batch."""
    words: UInt32[Array, "batch masked 2"]
    """The two words of the random key with which each position draws its token."""
    byte_lengths: Int[Array, "batch masked"]
    """UTF-8 bytes that each hidden token stands for."""
    total: Float[Array, " batch"]
    """Number of hidden tokens of the global batch, the same in every row."""
    real: Bool[Array, "batch length"]
    """Whether a position is not padding."""
    real_weights: Float[Array, "batch length"]
    """Weights of the positions that are not padding; they add up to one over the global batch."""


@dataclass(frozen=True)
@checked
class Electra(Objective):
    """Detects which tokens a small generator has replaced (Clark et al. 2020, section 2)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    discriminator: TransformerConfig
    """Network that detects replaced tokens, and that is used afterwards."""
    generator_size: float = 0.25
    """Heads and width of the generator as a share of the discriminator's, above 0 and at most 1."""
    rate: float = 0.15
    """Fraction of the text tokens of each row that the generator predicts."""
    shares: tuple[float, float, float] = (0.85, 0.0, 0.15)
    """Fractions of these tokens that become the mask token, a random token, and stay unchanged."""
    masking: Masking = "tokens"
    """Whether single tokens, whole words or spans of words are predicted."""
    temperature: float = 1.0
    """Temperature at which the generator draws tokens, above 0."""
    disallow_correct: bool = False
    """Whether the generator never draws the original token."""
    discriminator_weight: float = 50.0
    """Weight of the discriminator's loss."""

    def __post_init__(self) -> None:
        if self.discriminator.causal:
            raise InputError("ELECTRA reads from both sides; set discriminator.causal to False")
        check_share(self, "generator_size", zero=False, one=True)
        check_masking(self)
        check_above(self, 0, "temperature")
        check_at_least(self, 0, "discriminator_weight")

    @property
    def generator(self) -> TransformerConfig:
        """Configuration of the generator: the discriminator's, narrower by `generator_size`."""
        return generator_of(self.discriminator, self.generator_size)

    def network(self, model: Any) -> Any:
        """Returns the discriminator of `model`, which finetuning and embedding take over."""
        return model.discriminator

    def init(self, key: Array, spec: Any) -> ReplacedTokenModel:
        """Makes both networks with their heads for rows as in `spec`, with parameters drawn by `key`."""
        check_length(self.discriminator, spec.length, network="discriminator")
        return ReplacedTokenModel(key, self.discriminator, self.generator, spec.vocab_size)

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Hides tokens, gives every hidden token a random key of its own, and normalises weights.

        With these keys a row draws the same tokens on any device and in any microbatch.

        Args:
          batch: Rows as they were read, tokens `[batch, length]`.
          key: Random key.
        """
        choice_key, replacement_key, draw_key = jax.random.split(key, 3)
        tokens, vocabulary = batch
        hidden = choose_tokens(choice_key, tokens, vocabulary, rate=self.rate, masking=self.masking)
        inputs = replace_tokens(
            replacement_key, tokens, hidden, vocabulary, self.shares, masking=self.masking
        )
        weights, total = share_evenly(hidden.real)
        real = tokens != vocabulary.pad
        return Examples(
            inputs=inputs,
            tokens=tokens,
            segments=segments_of(tokens, vocabulary.begin, vocabulary.pad),
            positions=hidden.positions,
            weights=weights,
            words=jax.random.bits(draw_key, (*weights.shape, 2), jnp.uint32),
            byte_lengths=vocabulary.byte_length[read_at(tokens, hidden.positions)],
            total=jnp.broadcast_to(total, tokens.shape[0]),
            real=real,
            real_weights=share_evenly(real)[0],
        )

    def loss(
        self, model: ReplacedTokenModel, state: Any, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, dict[str, Metric]]]:
        """Computes the weighted sum of both losses of these examples.

        Args:
          model: Generator and discriminator with their heads.
          state: Returned as it is.
          examples: Masked rows, `[batch, length]`.
          key: Random key of dropout; None for no dropout. Tokens are drawn with keys of their own.

        Returns:
          The loss, a scalar, and (the state, metrics by name).
        """
        first, second = (None, None) if key is None else jax.random.split(key)
        nats, correct, drawn = self.generate(model, examples, first)
        inputs = write_at(examples.tokens, examples.positions, drawn)
        replaced = inputs != examples.tokens
        states = model.discriminator(inputs, examples.segments, key=second)
        logits = model.replaced_head(states)
        detection = losses.replaced_token_detection(
            logits, replaced, examples.real_weights, normalize=False
        )
        loss = nats + self.discriminator_weight * detection
        tokens = examples.real.sum().astype(jnp.float32)
        per_weight = 1 / jnp.maximum(examples.real_weights.max(), 1e-30)  # all weights are the same
        discriminator = Ratio(detection * per_weight, tokens)
        generator = token_metrics(
            nats, correct, examples.weights, examples.byte_lengths, examples.total[0]
        )
        metrics: dict[str, Metric] = {
            "loss": SumOfRatios.of(
                (1.0, generator["loss"]), (self.discriminator_weight, discriminator)
            ),
            "generator_loss": generator["loss"],
            "generator_accuracy": generator["accuracy"],
            "bits_per_byte": generator["bits_per_byte"],
            "discriminator_loss": discriminator,
        }
        return loss, (state, metrics | detection_metrics(logits, replaced, examples.real))

    def generate(
        self, model: ReplacedTokenModel, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], Float[Array, ""], Int[Array, "batch masked"]]:
        """Runs the generator and draws tokens from it.

        Args:
          model: Generator and discriminator with their heads.
          examples: Masked rows, `[batch, length]`.
          key: Random key of dropout; None for no dropout.

        Returns:
          The weighted sums of its losses and of the tokens that it predicts right, scalars, and the tokens
          that replace the hidden ones, `[batch, masked]`.
        """
        generator = model.whole_generator()
        states = generator.encoder(examples.inputs, examples.segments, key=key)
        originals = read_at(examples.tokens, examples.positions)
        nats, correct, drawn = token_losses_and_samples(
            generator.token_head(read_at(states, examples.positions)),
            generator.output_embedding(),
            originals,
            examples.weights,
            generator.output_bias[...],
            examples.words,
            temperature=self.temperature,
            disallow_correct=self.disallow_correct,
        )
        return nats, correct, jnp.where(examples.weights > 0, drawn, originals)


def detection_metrics(
    logits: Float[Array, "batch length"],
    replaced: Bool[Array, "batch length"],
    real: Bool[Array, "batch length"],
) -> dict[str, Metric]:
    """Measures how well the discriminator detects replaced tokens.

    Accuracy is not among the metrics: it would be high for a discriminator that detects none.

    Args:
      logits: Scores, `[batch, length]`, positive where it takes a token for replaced.
      replaced: Whether a token was replaced, `[batch, length]`.
      real: Whether a position counts, `[batch, length]`.

    Returns:
      Metrics by name: the share of replaced tokens, precision, recall and area under the ROC curve.
    """

    def count(which: Array) -> Float[Array, ""]:
        return (which & real).sum().astype(jnp.float32)

    found = logits > 0
    right, wrong = count(found & replaced), count(found & ~replaced)
    return {
        "replaced": Ratio(count(replaced), count(real)),
        "precision": Ratio(right, right + wrong),
        "recall": Ratio(right, count(replaced)),
        "auc": separation(logits.astype(jnp.float32), replaced, real),
    }
