"""ELECTRA: a small masked LM puts in plausible tokens, and the encoder tells which were replaced.

    loss = - sum over hidden places i of w_i log p_G(x_i | masked row)
           + 50 sum over places j that are not padding of v_j bce(D(row with G's tokens), j replaced?)

Clark et al. 2020, "ELECTRA", section 2. The generator G is the discriminator D made narrower, and reads
and predicts with D's embeddings. Its tokens are drawn (Gumbel-max) in the same pass over the vocabulary as
its loss, so that D's loss reaches G through the shared embeddings alone. A token that G guesses right counts
as original.

    batch    rows                       masked   places of a row that are predicted, static
    length   tokens of a row            vocab    size of the vocabulary
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxssl import losses
from jaxssl.errors import InputError
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.pretraining.replaced_tokens import ReplacedTokenModel, generator_of
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.batches.batch import (
    Metric,
    Ratio,
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
    """Masked rows for the generator, and the rows as they were; the weights of each part add up to one."""

    inputs: Int[Array, "batch length"]
    tokens: Int[Array, "batch length"]
    segments: Int[Array, "batch length"]
    positions: Int[Array, "batch masked"]
    weights: Float[Array, "batch masked"]  # 0 where a row has fewer hidden tokens
    words: UInt32[Array, "batch masked 2"]  # of the key with which a place draws its token
    byte_lengths: Int[Array, "batch masked"]
    total: Float[Array, " batch"]  # hidden tokens of the global batch, the same in every row
    real: Bool[Array, "batch length"]  # no padding
    real_weights: Float[Array, "batch length"]


@dataclass(frozen=True)
class Electra(Objective):
    """Tell which tokens a small generator has replaced (Clark et al. 2020, section 2)."""

    discriminator: TransformerConfig
    generator_size: float = 0.25  # heads and width of the generator, as a share
    rate: float = 0.15  # share of a row's text tokens that the generator predicts
    shares: tuple[float, float, float] = (0.85, 0.0, 0.15)  # of them: masked, random, unchanged
    masking: Masking = "tokens"  # or whole words, or spans of words
    temperature: float = 1.0  # of the generator's draws
    disallow_correct: bool = False  # True: the generator never draws the original token
    discriminator_weight: float = 50.0

    def __post_init__(self) -> None:
        if self.discriminator.causal:
            raise InputError("ELECTRA reads from both sides; set discriminator.causal to False")
        if not 0 < self.generator_size <= 1:
            raise InputError(
                f"generator_size={self.generator_size} must lie in (0, 1]: a share of the discriminator"
            )
        check_masking(self.rate, self.shares, self.masking)
        if self.temperature <= 0:
            raise InputError(f"temperature={self.temperature} must be above 0")
        if self.discriminator_weight < 0:
            raise InputError(
                f"discriminator_weight={self.discriminator_weight} must not be negative"
            )

    @property
    def generator(self) -> TransformerConfig:
        """The discriminator, narrower."""
        return generator_of(self.discriminator, self.generator_size)

    def network(self, model: Any) -> Any:
        """Gives the discriminator, which finetuning and embedding take over."""
        return model.discriminator

    def init(self, key: Array, spec: Any) -> ReplacedTokenModel:
        """Both networks with their heads, for rows as `spec` describes them."""
        if spec.length > self.discriminator.max_length:
            raise InputError(
                f"rows of {spec.length} tokens exceed max_length {self.discriminator.max_length} of "
                "the model; prepare shorter rows or raise --objective.discriminator.max-length"
            )
        return ReplacedTokenModel(key, self.discriminator, self.generator, spec.vocab_size)

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Hides tokens, gives every hidden one a key of its own, and normalises weights.

        With these keys a row draws the same tokens on any device and in any microbatch.
        """
        choice_key, replacement_key, draw_key = jax.random.split(key, 3)
        tokens, vocabulary = batch
        hidden = choose_tokens(choice_key, tokens, vocabulary, rate=self.rate, masking=self.masking)
        weights, total = share_evenly(hidden.real)
        real = tokens != vocabulary.pad
        return Examples(
            inputs=replace_tokens(replacement_key, tokens, hidden, vocabulary, self.shares),
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
        """The weighted sum over these examples. Without a key no dropout; tokens are drawn all the same."""
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
        share = examples.real_weights.sum()
        generator = token_metrics(
            nats, correct, examples.weights, examples.byte_lengths, examples.total[0]
        )
        metrics: dict[str, Metric] = {
            "loss": Ratio(loss, share),
            "generator_loss": generator["loss"],
            "generator_accuracy": generator["accuracy"],
            "bits_per_byte": generator["bits_per_byte"],
            "discriminator_loss": Ratio(detection, share),
        }
        return loss, (state, metrics | detection_metrics(logits, replaced, examples.real))

    def generate(
        self, model: ReplacedTokenModel, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], Float[Array, ""], Int[Array, "batch masked"]]:
        """The generator's loss, what it gets right, and the tokens that it puts at the hidden places."""
        generator = model.whole_generator()
        states = generator.encoder(examples.inputs, examples.segments, key=key)
        originals = read_at(examples.tokens, examples.positions)
        nats, correct, drawn = token_losses_and_samples(
            generator.token_head(read_at(states, examples.positions)),
            generator.encoder.tokens.embedding[...],
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
    """How the discriminator tells replaced tokens; accuracy would be high for one that calls none so."""

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
