"""An encoder with the heads of masked language modelling (Devlin et al. 2019, sections 3.1 and A.2)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.layers.dense import ACTIVATIONS, Linear, make_norm
from jaxssl.models.pretraining.vocabulary_head import make_output_kernel
from jaxssl.models.transformer_config import TransformerConfig


class MaskedLanguageModel(nnx.Module):
    """An encoder, a token head and, where asked for, a head that classifies pairs of texts.

        logits of tokens = norm(activation(dense(state))) @ output_embedding().T + bias
        logits of a pair = dense(tanh(dense(state of the begin token)))

    The token head is tied to the embedding table unless `config.tied_head` is False; `transform` maps states
    to the width of the table then, and else to `config.width`.

    Args:
      key: Random key of the initial parameters.
      config: Configuration of the encoder.
      vocab_size: Number of token ids.
      with_pairs: Whether there is a head of two classes for pairs of texts.
      with_pooler: Whether there is the first dense layer of that head alone, which SimCSE projects with.
    """

    # The encoder's own lines are in transformer.py.
    layout = (
        (r"transform/kernel", ("embed", None)),
        (r"transform/bias", (None,)),
        (r"transform_norm/(scale|bias)", (None,)),
        (r"output_kernel", ("vocab", "embed")),
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
        outputs = config.table_width if config.tied_head else width
        self.encoder = config.make(encoder, vocab_size)
        self.transform = Linear(transform, width, outputs, stddev=sd, bias=config.head_bias)
        self.transform_norm = make_norm(
            config.norm, outputs, epsilon=config.norm_epsilon, bias=config.bias
        )
        self.output_kernel = make_output_kernel(key, config, vocab_size)
        self.output_bias = nnx.Param(jnp.zeros(vocab_size))
        with_pooler = with_pooler or with_pairs
        self.pooler = Linear(pooler, width, width, stddev=sd) if with_pooler else None
        self.pair_classifier = Linear(pairs, width, 2, stddev=sd) if with_pairs else None

    def output_embedding(self) -> Float[Array, "vocab outputs"]:
        """Returns the kernel of the token head, `[vocab, outputs]`: the embedding table or its own."""
        if self.output_kernel is None:
            return self.encoder.tokens.embedding[...]
        return self.output_kernel[...]

    def token_head(self, states: Float[Array, "... width"]) -> Float[Array, "... outputs"]:
        """Maps `states` `[..., width]` to the vectors `[..., outputs]` that meet `output_embedding()`."""
        return self.transform_norm(head_activation(self.encoder.config)(self.transform(states)))

    def pair_head(self, first: Float[Array, "batch width"]) -> Float[Array, "batch 2"]:
        """Classifies pairs of texts.

        Args:
          first: State of the begin token of every pair, `[batch, width]`.

        Returns:
          Logits of (the second text follows, it does not), `[batch, 2]`.

        Raises:
          ValueError: The model was made with `with_pairs=False`.
        """
        if self.pooler is None or self.pair_classifier is None:
            raise ValueError("the model has no head for pairs; make it with with_pairs=True")
        return self.pair_classifier(jnp.tanh(self.pooler(first)), as_logits=True)


def head_activation(config: TransformerConfig) -> Callable[[Array], Array]:
    """Returns the activation of a head on a network with `config`: the network's, or GELU for a gated one."""
    function, is_gated = ACTIVATIONS[config.activation]
    return ACTIVATIONS["gelu"][0] if is_gated else function
