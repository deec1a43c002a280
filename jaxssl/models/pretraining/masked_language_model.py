"""An encoder with the heads of masked language modelling (Devlin et al. 2019, sections 3.1 and A.2)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.layers.dense import ACTIVATIONS, Linear, make_norm
from jaxssl.models.transformer_config import TransformerConfig


class MaskedLanguageModel(nnx.Module):
    """Encoder, token head tied to the embedding, and where pairs are judged a pooled head of two classes.

    `with_pooler`: the dense layer of that head alone, which also projects embeddings of texts.
    """

    # The encoder's own lines are in transformer.py.
    layout = (
        (r"transform/kernel", ("embed", None)),
        (r"transform/bias", (None,)),
        (r"transform_norm/(scale|bias)", (None,)),
        (r"output_bias", ("vocab",)),
        (r"pooler/kernel", ("embed", None)),
        (r"pair_classifier/kernel", ("embed", None)),
        (r"(pooler|pair_classifier)/bias", (None,)),
    )

    def __init__(
        self,
        key: Array,
        config: TransformerConfig,
        vocab_size: int,
        *,
        with_pairs: bool,
        with_pooler: bool = False,
    ):
        encoder, transform, pooler, pairs = jax.random.split(key, 4)
        width, sd = config.width, config.initializer_range
        self.encoder = config.make(encoder, vocab_size)
        self.transform = Linear(transform, width, config.table_width, deviation=sd)
        self.transform_norm = make_norm(
            config.norm, config.table_width, epsilon=config.norm_epsilon, bias=config.bias
        )
        self.output_bias = nnx.Param(jnp.zeros(vocab_size))
        with_pooler = with_pooler or with_pairs
        self.pooler = Linear(pooler, width, width, deviation=sd) if with_pooler else None
        self.pair_classifier = Linear(pairs, width, 2, deviation=sd) if with_pairs else None

    def token_head(self, states: Float[Array, "... width"]) -> Float[Array, "... embedding"]:
        """What meets the embedding: norm(activation(dense(states)))."""
        return self.transform_norm(head_activation(self.encoder.config)(self.transform(states)))

    def pair_head(self, first: Float[Array, "batch width"]) -> Float[Array, "batch 2"]:
        """Logits of (follows, does not follow) from the state of a pair's begin token."""
        if self.pooler is None or self.pair_classifier is None:
            raise ValueError("the model was made without a head for pairs")
        return self.pair_classifier(jnp.tanh(self.pooler(first)))


def head_activation(config: TransformerConfig) -> Callable[[Array], Array]:
    """That of the network, or GELU in place of a gated one."""
    name = config.activation
    return ACTIVATIONS[name if name.startswith("gelu") else "gelu"][0]
