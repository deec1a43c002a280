"""Two vectors for every word, for itself and for it as context (Mikolov et al. 2013, word2vec)."""

import jax
from flax import nnx
from jaxtyping import Array

from jaxssl.models.layers.dense import Embedding


class WordVectorModel(nnx.Module):
    """Tables of words and of contexts; `words` is used after training.

    Args:
      key: Random key of the initial table of words; that of contexts starts at zero, as in word2vec.
      width: Width of a vector.
      vocab_size: Number of token ids.
    """

    layout = ((r"(words|contexts)/embedding", ("vocab", "embed")),)

    def __init__(self, key: Array, width: int, vocab_size: int):
        # word2vec draws uniformly from -0.5 / width to 0.5 / width; this has the same variance.
        self.words = Embedding(key, vocab_size, width, stddev=1 / (width * 12**0.5))
        self.contexts = Embedding(jax.random.key(0), vocab_size, width, stddev=0.0)
