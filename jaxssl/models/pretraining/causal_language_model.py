"""A decoder whose head is its embedding (Radford et al. 2018; Press & Wolf 2017)."""

from flax import nnx
from jaxtyping import Array

from jaxssl.models.transformer_config import TransformerConfig


class CausalLanguageModel(nnx.Module):
    """Decoder; the logits of a state are its products with the token embeddings."""

    def __init__(self, key: Array, config: TransformerConfig, vocab_size: int):
        self.decoder = config.make(key, vocab_size)
