"""Two vectors for every word: one as itself, one as what stands beside others (Mikolov et al. 2013)."""

import jax
from flax import nnx
from jaxtyping import Array

from jaxssl.models.layers.dense import Embedding


class WordVectorModel(nnx.Module):
    """`words` is the table that is used; `contexts` begins at zero, as in word2vec."""

    layout = ((r"(words|contexts)/embedding", ("vocab", "embed")),)

    def __init__(self, key: Array, width: int, vocab_size: int):
        # word2vec draws from -0.5 / width … 0.5 / width: this is that variance.
        self.words = Embedding(key, vocab_size, width, stddev=1 / (width * 12**0.5))
        self.contexts = Embedding(jax.random.key(0), vocab_size, width, stddev=0.0)
