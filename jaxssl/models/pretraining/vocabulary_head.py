"""The kernel of a vocabulary head that is not tied to the embedding table."""

import jax
from flax import nnx
from jaxtyping import Array

from jaxssl.models.transformer_config import TransformerConfig

# Above the number of keys of any jax.random.split of the same key: fold_in(key, i) can be its i-th key.
OUTPUT_KEY = 1_000


def make_output_kernel(
    key: Array, config: TransformerConfig, vocab_size: int
) -> nnx.Param[Array] | None:
    """Draws the output kernel of a model whose configuration says `tied_head=False`.

    Args:
      key: The model's key. The kernel has a key of its own, folded from it, so that all other parameters
        are those of a tied model.
      config: Configuration of the network that gives the states.
      vocab_size: Number of token ids.

    Returns:
      Kernel `[vocab, width]` with standard deviation `initializer_range`; `None` where the head is tied.
    """
    if config.tied_head:
        return None
    shape = (vocab_size, config.width)
    drawn = jax.random.normal(jax.random.fold_in(key, OUTPUT_KEY), shape)
    return nnx.Param(config.initializer_range * drawn)
