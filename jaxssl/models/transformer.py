"""One transformer for BERT, GPT-2 and the modern recipe, chosen by the fields of its configuration.

    tokens and segments   int32 [batch, length]      segment 0 is padding
    states                [batch, length, width]

Rows are packed: attention and positions are per segment (layers/packing.py), so that no document sees
another. Positions are learned, rotary, or relative: biases of the scores (T5; Raffel et al. 2020, section
2.1), which no fused kernel adds. Rotary ones are relative, too, and can be computed with fused kernels.

References: Vaswani et al. 2017; Devlin et al. 2019 (BERT); Radford et al. 2019 (GPT-2); Warner et
al. 2024 (ModernBERT).
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from jaxssl.errors import InputError
from jaxssl.models.layers.dense import Embedding, Linear, standardize
from jaxssl.models.layers.dropout import dropout
from jaxssl.models.layers.packing import positions_of
from jaxssl.models.layers.stack import run_layers, scan_layers, stack_layers
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
from jaxssl.models.transformer_layers import Layer, finish, make_norm_for, shard_stream


class Transformer(nnx.Module):
    """Tokens to states: a plain pytree of float32 parameters, with `config` as static data.

    Args:
      config: Shape of the network.
      key: Random key of the initial parameters.
      vocab_size: Number of token ids, that of the tokenizer.

    Raises:
      InputError: `vocab_size` is below 1.
    """

    # The lines of the layers are in transformer_layers.py.
    layout = (
        (r"tokens/embedding", ("vocab", "embed")),
        (r"positions/embedding", (None, "embed")),
        (r"relative_biases/embedding", (None, None)),
        (r"types/embedding", (None, "embed")),
        (r"(embedding_norm|final_norm)/(scale|bias)", (None,)),
        (r"widen/kernel", ("embed", None)),
        (r"widen/bias", (None,)),
    )

    def __init__(self, config: TransformerConfig, key: Array, vocab_size: int):
        tokens, positions, types, layers, widen = jax.random.split(key, 5)
        if vocab_size < 1:
            raise InputError(f"vocab_size={vocab_size} is below 1; pass that of the tokenizer")

        def table(key: Array, size: int) -> Embedding:
            return Embedding(key, size, narrow, stddev=config.initializer_range)

        narrow = config.table_width
        self.config = config
        self.tokens = table(tokens, vocab_size)
        self.positions = make_position_table(config, positions, narrow)
        self.relative_biases = make_relative_biases(config, positions)
        self.types = table(types, config.segment_types) if config.segment_types else None
        self.embedding_norm = make_norm_for(config, narrow) if config.embedding_norm else None
        self.widen = (
            Linear(widen, narrow, config.width, stddev=config.initializer_range)
            if narrow != config.width
            else None
        )
        self.layers = stack_layers(lambda one: Layer(config, one), layers, config.depth)
        self.final_norm = make_norm_for(config) if config.final_norm else None

    def __call__(
        self,
        tokens: Ids,
        segments: Ids | None = None,
        *,
        types: Ids | None = None,
        prefix: Bool[Array, "batch length"] | None = None,
        key: Array | None = None,
    ) -> Rows:
        """Computes the states of packed rows of tokens.

        Args:
          tokens: Token ids, int32 `[batch, length]`.
          segments: Number of the document that each token belongs to, `[batch, length]`; 0 is padding.
            `None`: every row is one document without padding.
          types: Segment types (sentence A or B), `[batch, length]`. `None`: type 0 everywhere.
          prefix: Positions of a causal network that all of their document see, bool `[batch, length]`.
          key: Random key of dropout. `None`: no dropout.

        Returns:
          States after the last layer and the final norm (if there is one), `[batch, length, width]`
          in `compute_dtype`.

        Raises:
          InputError: The rows are longer than `max_length`, the segments have another shape than the
            tokens, or types are given to a model with `segment_types=0`.
        """
        x, per_layer, shared = self._inputs(tokens, segments, types, prefix, key)

        def apply(layer: Layer, x: Rows, own: PerLayerInputs) -> Rows:
            return layer(shard_stream(self.config, x), own, shared)

        x = run_layers(self.layers, x, per_layer, apply, **self.config.layer_loop)
        return finish(self.config, self.final_norm, x)

    def hidden_states(
        self,
        tokens: Ids,
        segments: Ids | None = None,
        *,
        types: Ids | None = None,
        prefix: Bool[Array, "batch length"] | None = None,
        key: Array | None = None,
    ) -> Float[Array, "states batch length width"]:
        """Computes the states after the embedding and after every layer.

        Entry 0 is what the first layer reads: the embeddings with their norm and dropout, widened to
        `width`. Entry i is the output of layer i (counted from 1), so that of a network with
        `norm_first=False` (BERT) it is normalised. The final norm is in no entry, also not in the last:
        `final_norm(hidden_states(...)[-1])`, times `output_scale`, is what a call returns.
        (`output_hidden_states` of transformers applies the final norm to its last entry, e.g. of GPT-2,
        Llama and ModernBERT; all other entries are the same.)

        Args:
          tokens: Token ids, int32 `[batch, length]`.
          segments: Document numbers, `[batch, length]`; `None`: every row is one document.
          types: Segment types, `[batch, length]`; `None`: type 0 everywhere.
          prefix: Positions that all of their document see, bool `[batch, length]`.
          key: Random key of dropout. `None`: no dropout.

        Returns:
          States `[layers + 1, batch, length, width]` in `compute_dtype`.

        Raises:
          InputError: As a call does.
        """
        first, per_layer, shared = self._inputs(tokens, segments, types, prefix, key)

        def apply(layer: Layer, x: Rows, own: PerLayerInputs) -> tuple[Rows, Rows]:
            x = shard_stream(self.config, layer(shard_stream(self.config, x), own, shared))
            return x, x

        _, states = scan_layers(self.layers, first, per_layer, apply, **self.config.layer_loop)
        return jnp.concatenate([shard_stream(self.config, first)[None], states])

    def mean_of_feed_forwards(
        self, tokens: Ids, segments: Ids, last: int, *, types: Ids | None = None
    ) -> Rows:
        """Computes the mean of the standardised feed-forward outputs of the last layers, without dropout.

        The output of a layer's feed-forward part, before it is added to the stream, is brought to mean 0
        and variance 1 over the width at each position (a layer norm without parameters), and these are
        averaged: the targets of data2vec. The stream itself would not do, since the token's own embedding
        goes through all layers in it.

        Args:
          tokens: Token ids, int32 `[batch, length]`.
          segments: Document numbers, `[batch, length]`; 0 is padding.
          last: Number of layers, counted from the last one; more than there are stand for all.
          types: Segment types, `[batch, length]`; `None`: type 0 everywhere.

        Returns:
          The mean, float32 `[batch, length, width]`.

        Raises:
          InputError: As a call does.

        References:
          Baevski et al. 2022, "data2vec", section 3.3 (targets, normalisation) and the comparison of
          target features in section 5 (the output of the feed-forward part).
        """
        config = self.config
        x, per_layer, shared = self._inputs(tokens, segments, types, None, None)
        is_last = jnp.arange(config.depth) >= config.depth - last

        def apply(
            layer: Layer, carry: tuple[Rows, Rows], one: tuple[PerLayerInputs, Array]
        ) -> tuple[Rows, Rows]:
            x, summed = carry
            x, output = layer.with_feed_forward(shard_stream(config, x), one[0], shared)
            return x, summed + jnp.where(one[1], standardize(output, config.norm_epsilon), 0.0)

        carry = (x, jnp.zeros(x.shape, jnp.float32))
        _, summed = run_layers(self.layers, carry, (per_layer, is_last), apply, **config.layer_loop)
        return summed / min(last, config.depth)

    def _inputs(
        self,
        tokens: Ids,
        segments: Ids | None,
        types: Ids | None,
        prefix: Bool[Array, "batch length"] | None,
        key: Array | None,
    ) -> tuple[Rows, PerLayerInputs, SharedLayerInputs]:
        """The states that the first layer reads, and what the layers read beside them."""
        config = self.config
        segments = jnp.ones(tokens.shape, jnp.int32) if segments is None else segments
        self._check(tokens, segments, types)
        embedding_key, layers_key = (None, None) if key is None else jax.random.split(key)
        positions = positions_of(segments)
        x = self.embed(tokens, positions, types, key=embedding_key)
        per_layer = per_layer_inputs(config, layers_key)
        shared = shared_inputs(config, segments, positions, self.relative_biases, prefix)
        return x, per_layer, shared

    def embed(
        self,
        tokens: Ids,
        positions: Ids,
        types: Ids | None = None,
        *,
        key: Array | None = None,
    ) -> Rows:
        """Computes the states that the first layer reads.

        Args:
          tokens: Token ids, int32 `[batch, length]`.
          positions: Positions within documents, `[batch, length]`.
          types: Segment types, `[batch, length]`; `None`: type 0 everywhere.
          key: Random key of dropout. `None`: no dropout.

        Returns:
          Embeddings with their norm and dropout, widened to `width`, `[batch, length, width]` in
          `compute_dtype`.
        """
        x = embed_tokens(self.config, self.tokens, tokens)
        x = add_positions(self.config, x, self.positions, positions)
        if self.types is not None:
            x = x + self.types(jnp.zeros_like(tokens) if types is None else types)
        x = x if self.embedding_norm is None else self.embedding_norm(x)
        x = dropout(x.astype(self.config.compute_dtype), self.config.dropout, key)
        return x if self.widen is None else self.widen(x)

    def _check(self, tokens: Ids, segments: Ids, types: Ids | None) -> None:
        check_length(self.config, tokens.shape[-1])
        if tokens.shape != segments.shape:
            raise InputError(
                f"segments of shape {segments.shape} and tokens of shape {tokens.shape} differ; pass "
                "one segment id for each token (jaxssl.models.segments_of)"
            )
        if types is not None and self.types is None:
            raise InputError(
                "types were given to a model with segment_types=0; leave them out, or set segment_types to 2"
            )


TransformerConfig.network = Transformer
