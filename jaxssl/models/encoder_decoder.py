"""An encoder and a decoder of the same transformer: the decoder's layers also attend to the encoder's states.

    x = x + attention(x);   x = x + cross(x, memory);   x = x + feed-forward(x)

One table embeds the tokens of both and is the head (Press & Wolf 2017), unless the decoder has an output
kernel of its own. Rows are packed: a document of the decoder sees the document of the same number in the
encoder's row, and no other.

    batch    rows                        memory   positions of the encoder's rows
    length   tokens of a decoder's row   width    of the states, the same in both

References: Vaswani et al. 2017, section 3.1; Raffel et al. 2020 (T5), section 2.1; Lewis et al. 2020 (BART),
section 2.1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxssl.errors import InputError
from jaxssl.models.layers.dropout import dropout
from jaxssl.models.layers.packing import positions_of
from jaxssl.models.layers.stack import run_layers, scan_layers, stack_layers
from jaxssl.models.pretraining.vocabulary_head import make_output_kernel
from jaxssl.models.transformer_config import TransformerConfig, check_length
from jaxssl.models.transformer_inputs import (
    Ids,
    PerLayerInputs,
    Rows,
    SharedLayerInputs,
    add_positions,
    embed_tokens,
    make_position_table,
    make_relative_biases,
    per_layer_inputs,
    shared_inputs,
)
from jaxssl.models.transformer_layers import (
    LAYER_LAYOUT,
    Attention,
    add_part,
    finish,
    make_feed_forward_for,
    make_norm_for,
    shard_stream,
)


class Memory(NamedTuple):
    """What a decoder attends to: the states of an encoder and the documents that they belong to."""

    states: Float[Array, "batch memory width"]
    """States of the encoder, `[batch, memory, width]`."""
    segments: Int[Array, "batch memory"]
    """Document number of every state, `[batch, memory]`; states of segment 0 are not seen."""


class DecoderLayer(nnx.Module):
    """A decoder's layer: attention, attention to the memory, then feed-forward, each added to the stream.

    Args:
      config: Configuration of the decoder.
      key: Random key of the initial parameters.
    """

    layout = LAYER_LAYOUT

    def __init__(self, config: TransformerConfig, key: Array):
        first, second, third = jax.random.split(key, 3)
        self.config = config
        self.attention = Attention(config, first)
        self.attention_norm = make_norm_for(config)
        self.cross = Attention(config, second)
        self.cross_norm = make_norm_for(config)
        self.mlp = make_feed_forward_for(config, third)
        self.mlp_norm = make_norm_for(config)

    def __call__(
        self,
        x: Rows,
        memory: Memory,
        own: PerLayerInputs,
        cross_keys: Array | None,
        shared: SharedLayerInputs,
    ) -> Rows:
        """Computes the next states.

        Args:
          x: States, `[batch, length, width]`.
          memory: The encoder's states.
          own: What this layer reads beside them.
          cross_keys: Keys of dropout `[2]`: of the weights of cross-attention, and behind it. `None`: no
            dropout.
          shared: What all layers read beside them.

        Returns:
          States, `[batch, length, width]`.
        """
        _, after_attention, after_mlp = (None,) * 3 if own.keys is None else own.keys
        of_weights, after_cross = (None,) * 2 if cross_keys is None else cross_keys

        def attend(x: Rows) -> Rows:
            return self.attention(x, own, shared)

        def cross(x: Rows) -> Rows:
            return self.cross.across(x, shared.segments, *memory, of_weights)

        x, _ = add_part(self.config, x, attend, self.attention_norm, after_attention)
        x, _ = add_part(self.config, x, cross, self.cross_norm, after_cross)
        x, _ = add_part(self.config, x, self.mlp, self.mlp_norm, after_mlp)
        return x


class Decoder(nnx.Module):
    """Embedded tokens and a memory to states. It has no table of tokens: the encoder's is shared.

    Args:
      config: Configuration of the decoder.
      key: Random key of the initial parameters.
    """

    layout = (
        (r"positions/embedding", (None, "embed")),
        (r"relative_biases/embedding", (None, None)),
        (r"(embedding_norm|final_norm)/(scale|bias)", (None,)),
    )

    def __init__(self, config: TransformerConfig, key: Array):
        positions, layers = jax.random.split(key)
        self.config = config
        self.positions = make_position_table(config, positions, config.width)
        self.relative_biases = make_relative_biases(config, positions)
        self.embedding_norm = make_norm_for(config) if config.embedding_norm else None
        self.layers = stack_layers(lambda one: DecoderLayer(config, one), layers, config.depth)
        self.final_norm = make_norm_for(config) if config.final_norm else None

    def __call__(self, x: Rows, segments: Ids, memory: Memory, *, key: Array | None = None) -> Rows:
        """Computes the decoder's states after the last layer and the final norm (if there is one).

        Args:
          x: Embedded tokens, `[batch, length, width]`.
          segments: Document number of every token, `[batch, length]`; 0 is padding.
          memory: The encoder's states.
          key: Random key of dropout. `None`: no dropout.

        Returns:
          States in `compute_dtype`, `[batch, length, width]`.

        Raises:
          InputError: The rows are longer than `max_length`.
        """
        config = self.config
        x, per_layer, shared = self._inputs(x, segments, key)
        memory = Memory(memory.states.astype(x.dtype), memory.segments)

        def apply(layer: DecoderLayer, x: Rows, own: tuple[PerLayerInputs, Array | None]) -> Rows:
            return layer(shard_stream(config, x), memory, *own, shared)

        x = run_layers(self.layers, x, per_layer, apply, **config.layer_loop)
        return finish(config, self.final_norm, x)

    def hidden_states(
        self, x: Rows, segments: Ids, memory: Memory
    ) -> Float[Array, "states batch length width"]:
        """Computes the states after the embedding and after every layer, without dropout.

        Args:
          x: Embedded tokens, `[batch, length, width]`.
          segments: Document number of every token, `[batch, length]`; 0 is padding.
          memory: The encoder's states.

        Returns:
          States `[layers + 1, batch, length, width]` in `compute_dtype`; the final norm is in no entry.

        Raises:
          InputError: The rows are longer than `max_length`.
        """
        config = self.config
        first, per_layer, shared = self._inputs(x, segments, None)
        memory = Memory(memory.states.astype(first.dtype), memory.segments)

        def apply(
            layer: DecoderLayer, x: Rows, own: tuple[PerLayerInputs, Array | None]
        ) -> tuple[Rows, Rows]:
            x = shard_stream(config, layer(shard_stream(config, x), memory, *own, shared))
            return x, x

        _, states = scan_layers(self.layers, first, per_layer, apply, **config.layer_loop)
        return jnp.concatenate([first[None], states])

    def embed(self, x: Rows, positions: Ids, *, key: Array | None = None) -> Rows:
        """Computes the states that the first layer reads, `[batch, length, width]`.

        Args:
          x: Embedded tokens, `[batch, length, width]`.
          positions: Positions within documents, `[batch, length]`.
          key: Random key of dropout. `None`: no dropout.
        """
        x = add_positions(self.config, x, self.positions, positions)
        x = x if self.embedding_norm is None else self.embedding_norm(x)
        return dropout(x.astype(self.config.compute_dtype), self.config.dropout, key)

    def _inputs(
        self, x: Rows, segments: Ids, key: Array | None
    ) -> tuple[Rows, tuple[PerLayerInputs, Array | None], SharedLayerInputs]:
        """The states that the first layer reads, and what the layers read beside them and the memory."""
        config = self.config
        check_length(config, x.shape[1], network="decoder")
        first, second, third = (None,) * 3 if key is None else jax.random.split(key, 3)
        positions = positions_of(segments)
        x = self.embed(x, positions, key=first)
        shared = shared_inputs(config, segments, positions, self.relative_biases)
        cross_keys = None if third is None else jax.random.split(third, (config.depth, 2))
        return x, (per_layer_inputs(config, second), cross_keys), shared


class EncoderDecoder(nnx.Module):
    """A `Transformer` with the table of tokens, `encoder`, and a `Decoder` that shares the table, `decoder`.

    The head is the table, too, or an output kernel where `decoder.tied_head` is False (T5 1.1).

    Args:
      key: Random key of the initial parameters.
      encoder: Configuration of the encoder.
      decoder: Configuration of the decoder.
      vocab_size: Number of token ids.

    Raises:
      InputError: The two configurations do not fit together (`check_pair`).
    """

    # The lines of both halves are in transformer.py and above.
    layout = ((r"output_kernel", ("vocab", "embed")),)

    def __init__(
        self, key: Array, encoder: TransformerConfig, decoder: TransformerConfig, vocab_size: int
    ):
        first, second = jax.random.split(key)
        check_pair(encoder, decoder)
        self.encoder = encoder.make(first, vocab_size)
        self.decoder = Decoder(decoder, second)
        self.output_kernel = make_output_kernel(key, decoder, vocab_size)

    def output_embedding(self) -> Float[Array, "vocab width"]:
        """Returns the kernel of the head, `[vocab, width]`: the embedding table or the decoder's own."""
        if self.output_kernel is None:
            return self.encoder.tokens.embedding[...]
        return self.output_kernel[...]

    def embed(self, tokens: Ids) -> Rows:
        """Embeds the `tokens` `[batch, length]` that the decoder reads."""
        return embed_tokens(self.decoder.config, self.encoder.tokens, tokens)

    def decode(
        self,
        tokens: Ids,
        segments: Ids,
        memory: Memory,
        *,
        key: Array | None = None,
    ) -> Float[Array, "batch length width"]:
        """Computes the decoder's states; the logits are `states @ output_embedding().T`.

        Args:
          tokens: Token ids that the decoder reads, `[batch, length]`.
          segments: Document number of every token, `[batch, length]`; 0 is padding.
          memory: The encoder's states.
          key: Random key of dropout. `None`: no dropout.

        Returns:
          States in `compute_dtype`, `[batch, length, width]`.

        Raises:
          InputError: The rows are longer than the decoder's `max_length`.
        """
        return self.decoder(self.embed(tokens), segments, memory, key=key)


def check_pair(encoder: TransformerConfig, decoder: TransformerConfig) -> None:
    """Checks that `encoder` and `decoder` are an encoder and a decoder that can share a table.

    Raises:
      InputError: A field of one of them does not fit.
    """
    if encoder.causal or not decoder.causal:
        raise InputError(
            f"encoder.causal={encoder.causal} and decoder.causal={decoder.causal}: an encoder reads "
            "from both sides and a decoder must not see what it predicts; set encoder.causal to False "
            "and decoder.causal to True"
        )
    if encoder.width != decoder.width:
        raise InputError(
            f"encoder.width={encoder.width} and decoder.width={decoder.width} differ, and both share "
            "one table of tokens; set them to one width"
        )
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        if network.table_width != network.width:
            raise InputError(
                f"{name}.embedding_width={network.embedding_width} is not {name}.width={network.width}, "
                f"and the shared table is the head; set {name}.embedding_width to None"
            )
    if not encoder.tied_head:
        raise InputError(
            "encoder.tied_head=False, but the encoder has no head; set decoder.tied_head to False, and "
            "encoder.tied_head to True"
        )
    if decoder.segment_types:
        raise InputError(
            f"decoder.segment_types={decoder.segment_types}, but a decoder reads no types; set "
            "decoder.segment_types to 0"
        )
