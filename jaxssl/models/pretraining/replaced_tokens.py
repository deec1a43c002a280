"""A discriminator, and the small generator that deceives it (Clark et al. 2020, sections 2 and 3.2)."""

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
    """The discriminator's shape with a share `size` of its heads, and of its width and inner width.

    A head is as wide as the discriminator's, and there is one at least. The tables are the
    discriminator's: a dense layer fits them to the generator's width (section 3.2, weight sharing).
    """
    heads = max(1, round(size * discriminator.heads))
    width = heads * discriminator.head_dim
    if discriminator.head_width is not None:  # then heads do not add up to the width
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
    """Generator and discriminator. The embeddings are held once, by the discriminator."""

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
        """The generator with the discriminator's embeddings, whose gradient is then the sum of both."""
        generator = jax.tree.map(lambda leaf: leaf, self.generator)  # a copy that may be changed
        for name in TABLES:
            setattr(generator.encoder, name, getattr(self.discriminator, name))
        return generator

    def replaced_head(
        self, states: Float[Array, "batch length width"]
    ) -> Float[Array, "batch length"]:
        """The logit that a token was replaced: dense(activation(dense(states)))."""
        function = head_activation(self.discriminator.config)
        return self.classifier(function(self.transform(states)))[..., 0]
