"""A decoder whose vocabulary head is its embedding table (Radford et al. 2018), or a kernel of its own."""

from flax import nnx
from jaxtyping import Array, Float

from jaxssl.models.pretraining.vocabulary_head import make_output_kernel
from jaxssl.models.transformer_config import TransformerConfig


class CausalLanguageModel(nnx.Module):
    """A decoder, and an output kernel where `config.tied_head` is False.

    The logits of the next token are `states @ output_embedding().T`.

    Args:
      key: Random key of the initial parameters.
      config: Configuration of the decoder.
      vocab_size: Number of token ids.
    """

    # The decoder's own lines are in transformer.py.
    layout = ((r"output_kernel", ("vocab", "embed")),)

    def __init__(self, key: Array, config: TransformerConfig, vocab_size: int):
        self.decoder = config.make(key, vocab_size)
        self.output_kernel = make_output_kernel(key, config, vocab_size)

    def output_embedding(self) -> Float[Array, "vocab width"]:
        """Returns the kernel of the vocabulary head, `[vocab, width]`: the embedding table or its own."""
        if self.output_kernel is None:
            return self.decoder.tokens.embedding[...]
        return self.output_kernel[...]
