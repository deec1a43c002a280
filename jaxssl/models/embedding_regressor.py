"""An encoder with a head that predicts vectors of its own width (Baevski et al. 2022, data2vec)."""

import jax
from flax import nnx
from jaxtyping import Array

from jaxssl.models.layers import FeedForward
from jaxssl.models.transformer import Transformer


class EmbeddingRegressor(nnx.Module):
    """Encoder, and two dense layers with a GELU between them."""

    def __init__(self, key: Array, config: Transformer, vocab_size: int):
        encoder, head = jax.random.split(key)
        sd = config.initializer_range
        self.encoder = config.make(encoder, vocab_size)
        self.head = FeedForward(
            head,
            config.width,
            2 * config.width,
            activation="gelu",
            bias=True,
            deviation=sd,
            out_deviation=sd,
        )


# The encoder's own lines are in transformer.py.
LAYOUT = (
    (r"head/up/kernel", ("embed", "mlp")),
    (r"head/up/bias", ("mlp",)),
    (r"head/down/kernel", ("mlp", "embed")),
    (r"head/down/bias", (None,)),
)
