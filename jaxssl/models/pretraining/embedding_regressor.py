"""An encoder with a head that predicts vectors of the encoder's width (Baevski et al. 2022, data2vec)."""

import jax
from flax import nnx
from jaxtyping import Array

from jaxssl.models.layers.dense import FeedForward
from jaxssl.models.transformer_config import TransformerConfig


class EmbeddingRegressor(nnx.Module):
    """An encoder, and two dense layers with a GELU between them.

    Args:
      key: Random key of the initial parameters.
      config: Configuration of the encoder.
      vocab_size: Number of token ids.
    """

    # The encoder's own lines are in transformer.py.
    layout = (
        (r"head/up/kernel", ("embed", "mlp")),
        (r"head/up/bias", ("mlp",)),
        (r"head/down/kernel", ("mlp", "embed")),
        (r"head/down/bias", (None,)),
    )

    def __init__(self, key: Array, config: TransformerConfig, vocab_size: int):
        encoder, head = jax.random.split(key)
        sd = config.initializer_range
        self.encoder = config.make(encoder, vocab_size)
        self.head = FeedForward(
            head,
            config.width,
            2 * config.width,
            activation="gelu",
            bias=True,
            stddev=sd,
            out_stddev=sd,
        )
