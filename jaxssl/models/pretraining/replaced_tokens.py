"""ELECTRA's networks: a discriminator and a small generator (Clark et al. 2020, sections 2 and 3.2)."""

import math
from dataclasses import replace

import jax
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.layers.dense import Linear
from jaxssl.models.pretraining.masked_language_model import MaskedLanguageModel, head_activation
from jaxssl.models.transformer_config import TransformerConfig

TABLES = ("tokens", "positions", "types", "embedding_norm")


def generator_of(discriminator: TransformerConfig, size: float) -> TransformerConfig:
    """Returns the configuration of a generator: the discriminator's, narrower.

    It has a fraction of the heads, of at least one, and of the width and the inner width. Heads are as
    wide as the discriminator's. The tables are the discriminator's, which a dense layer maps to the
    generator's width (section 3.2, weight sharing).

    Args:
      discriminator: Configuration of the discriminator.
      size: Fraction of the heads.
    """
    heads = max(1, round(size * discriminator.heads))
    width = heads * discriminator.head_dim
    if (
        discriminator.head_width is not None
    ):  # the heads do not add up to the width: a multiple of 8
        share = -(-discriminator.width * heads // discriminator.heads // 8) * 8
        width = min(share, discriminator.width)
    inner = discriminator.inner * heads // discriminator.heads
    return replace(
        discriminator,
        width=width,
        embedding_width=discriminator.table_width,
        heads=heads,
        kv_heads=math.gcd(heads, discriminator.kv_heads) if discriminator.kv_heads else None,
        mlp=-(-inner // 8) * 8,
    )


class ReplacedTokenModel(nnx.Module):
    """Generator and discriminator; the embeddings are parameters of the discriminator alone.

    Args:
      key: Random key of the initial parameters.
      discriminator: Configuration of the discriminator.
      generator: Configuration of the generator (`generator_of`).
      vocab_size: Number of token ids.
    """

    # The lines of the networks are in transformer.py and masked_language_model.py.

    layout = (
        (r"transform/kernel", ("embed", None)),
        (r"transform/bias", (None,)),
        (r"classifier/kernel", ("embed", None)),
        (r"classifier/bias", (None,)),
    )

    def __init__(
        self,
        key: Array,
        discriminator: TransformerConfig,
        generator: TransformerConfig,
        vocab_size: int,
    ):
        first, second, third, fourth = jax.random.split(key, 4)
        width, sd = discriminator.width, discriminator.initializer_range
        self.discriminator = discriminator.make(first, vocab_size)
        self.transform = Linear(second, width, width, stddev=sd)
        self.classifier = Linear(third, width, 1, stddev=sd)
        self.generator = MaskedLanguageModel(fourth, generator, vocab_size, with_pairs=False)
        for name in TABLES:
            setattr(self.generator.encoder, name, None)

    def whole_generator(self) -> MaskedLanguageModel:
        """Returns the generator with the discriminator's embeddings, whose gradient then comes from both."""
        generator = jax.tree.map(lambda leaf: leaf, self.generator)  # a copy that may be changed
        for name in TABLES:
            setattr(generator.encoder, name, getattr(self.discriminator, name))
        return generator

    def replaced_head(
        self, states: Float[Array, "batch length width"]
    ) -> Float[Array, "batch length"]:
        """Computes dense(activation(dense(`states`))), the logit that a token was replaced.

        Args:
          states: States of the discriminator, `[batch, length, width]`.

        Returns:
          Logits, `[batch, length]`.
        """
        function = head_activation(self.discriminator.config)
        return self.classifier(function(self.transform(states)), as_logits=True)[..., 0]
