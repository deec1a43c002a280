"""An encoder and a decoder of the same transformer: the decoder's layers also read the encoder's states.

    x = x + attention(x);   x = x + cross(x, memory);   x = x + feed-forward(x)

Vaswani et al. 2017, section 3.1; Raffel et al. 2020 (T5), section 2.1; Lewis et al. 2020 (BART),
section 2.1. One table embeds the tokens of both and is the head (Press & Wolf 2017). Rows are packed:
a document of the decoder sees the document of the same number in the encoder's row, and no other.

    batch    rows                          memory   places of the encoder's rows
    length   tokens of a decoder's row     width    the same in both
"""

from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxssl.errors import InputError
from jaxssl.models.layers.dense import Embedding
from jaxssl.models.layers.dropout import dropout
from jaxssl.models.layers.packing import positions_of
from jaxssl.models.layers.stack import run_layers, stack_layers
from jaxssl.models.transformer_config import TransformerConfig, check_length
from jaxssl.models.transformer_layers import (
    LAYER_LAYOUT,
    Attention,
    Ids,
    PerLayerInputs,
    Rows,
    SharedLayerInputs,
    add_part,
    make_feed_forward_for,
    make_norm_for,
    per_layer_inputs,
    rotary_tables,
    stream,
)


class Memory(NamedTuple):
    """What a decoder reads: an encoder's states, and whose they are; those of segment 0 are unseen."""

    states: Float[Array, "batch memory width"]
    segments: Int[Array, "batch memory"]


class DecoderLayer(nnx.Module):
    """Attention, attention to the memory, then feed-forward, each added to the stream."""

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
        each: PerLayerInputs,
        cross_keys: Any,
        every: SharedLayerInputs,
    ) -> Rows:
        _, after_attention, after_mlp = (None,) * 3 if each.keys is None else each.keys
        of_weights, after_cross = (None,) * 2 if cross_keys is None else cross_keys

        def attend(x: Rows) -> Rows:
            return self.attention(x, each, every)

        def cross(x: Rows) -> Rows:
            return self.cross.across(x, every.segments, *memory, of_weights)

        x = add_part(self.config, x, attend, self.attention_norm, after_attention)
        x = add_part(self.config, x, cross, self.cross_norm, after_cross)
        return add_part(self.config, x, self.mlp, self.mlp_norm, after_mlp)


class Decoder(nnx.Module):
    """Embedded tokens and a memory to states. It has no table of tokens: that is the encoder's."""

    layout = (
        (r"positions/embedding", (None, "embed")),
        (r"(embedding_norm|final_norm)/(scale|bias)", (None,)),
    )

    def __init__(self, config: TransformerConfig, key: Array):
        positions, layers = jax.random.split(key)
        learned, sd = config.positions == "learned", config.initializer_range
        self.config = config
        self.positions = (
            Embedding(positions, config.max_length, config.width, stddev=sd) if learned else None
        )
        self.embedding_norm = make_norm_for(config) if config.embedding_norm else None
        self.layers = stack_layers(lambda one: DecoderLayer(config, one), layers, config.depth)
        self.final_norm = make_norm_for(config) if config.final_norm else None

    def __call__(self, x: Rows, segments: Ids, memory: Memory, *, key: Array | None = None) -> Rows:
        """States in `compute_dtype`. No `key`: no dropout."""
        config = self.config
        check_length(config, x.shape[1], network="decoder")
        first, second, third = (None,) * 3 if key is None else jax.random.split(key, 3)
        positions = positions_of(segments)
        x = x if self.positions is None else x + self.positions(positions)
        x = x if self.embedding_norm is None else self.embedding_norm(x)
        x = dropout(x.astype(config.compute_dtype), config.dropout, first)
        memory = Memory(memory.states.astype(x.dtype), memory.segments)
        every = SharedLayerInputs(segments, rotary_tables(config, positions))
        cross_keys = None if third is None else jax.random.split(third, (config.depth, 2))

        def apply(layer: DecoderLayer, x: Rows, one: tuple[PerLayerInputs, Any]) -> Rows:
            return layer(stream(config, x), memory, *one, every)

        each = (per_layer_inputs(config, second), cross_keys)
        x = run_layers(self.layers, x, each, apply, remat=config.remat)
        return x if self.final_norm is None else self.final_norm(x)


class EncoderDecoder(nnx.Module):
    """`encoder` is a network as any other, with the table of tokens; `decoder` shares that table."""

    def __init__(
        self, key: Array, encoder: TransformerConfig, decoder: TransformerConfig, vocab_size: int
    ):
        first, second = jax.random.split(key)
        check_pair(encoder, decoder)
        self.encoder = encoder.make(first, vocab_size)
        self.decoder = Decoder(decoder, second)

    def decode(
        self,
        tokens: Ids,
        segments: Ids,
        memory: Memory,
        *,
        key: Array | None = None,
    ) -> Float[Array, "batch length width"]:
        """States of the decoder; their products with the table are the logits of the next token."""
        return self.decoder(self.encoder.tokens(tokens, "vocab"), segments, memory, key=key)


def check_pair(encoder: TransformerConfig, decoder: TransformerConfig) -> None:
    """Raises `InputError` where the two are no encoder and decoder that share a table."""
    if encoder.causal or not decoder.causal:
        raise InputError(
            f"encoder.causal={encoder.causal} and decoder.causal={decoder.causal}: an encoder reads "
            "from both sides and a decoder must not see what it predicts; set False and True"
        )
    if encoder.width != decoder.width:
        raise InputError(
            f"encoder.width={encoder.width} and decoder.width={decoder.width} differ, and both share "
            "one table of tokens; pass equal widths"
        )
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        if network.table_width != network.width:
            raise InputError(
                f"{name}.embedding_width={network.embedding_width} is not the width "
                f"{network.width}, and the shared table is the head; pass None"
            )
        if not network.tied_head:
            raise InputError(
                f"{name}.tied_head=False: encoder and decoder share one table, which is the head too; set "
                f"{name}.tied_head to True"
            )
    if decoder.segment_types:
        raise InputError(
            f"decoder.segment_types={decoder.segment_types}: a decoder has no types; pass 0"
        )
