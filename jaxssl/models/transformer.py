"""One transformer for BERT, GPT-2 and the modern recipe, chosen by the fields of its configuration.

Shapes: tokens and segments int32 [batch, length], segment 0 is padding; states [batch, length,
width]. Rows are packed: attention and positions are per segment (packing.py), so that no document
sees another. T5's relative biases (Raffel et al. 2020, section 2.1) are not here: positions are
learned, or rotary, which are relative too and go with fused kernels.

References: Vaswani et al. 2017; Devlin et al. 2019 (BERT); Radford et al. 2019 (GPT-2); Warner et
al. 2024 (ModernBERT).
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool

from jaxssl.errors import InputError
from jaxssl.models.layers.dense import Embedding, Linear, standardize
from jaxssl.models.layers.dropout import dropout
from jaxssl.models.layers.packing import positions_of
from jaxssl.models.layers.stack import run_layers, stack_layers
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.transformer_layers import (
    Ids,
    Layer,
    PerLayerInputs,
    Rows,
    SharedLayerInputs,
    norm_of,
    per_layer_inputs,
    rotary_tables,
    stream,
)


class Transformer(nnx.Module):
    """Tokens to states: a plain pytree of float32 parameters, with `config` as static data."""

    layout = (
        (r"tokens/embedding", ("vocab", "embed")),
        (r"positions/embedding", (None, "embed")),
        (r"types/embedding", (None, "embed")),
        (r"(embedding_norm|final_norm)/(scale|bias)", (None,)),
        (r"widen/kernel", ("embed", None)),
        (r"widen/bias", (None,)),
    )

    def __init__(self, config: TransformerConfig, key: Array, vocab_size: int):
        tokens, positions, types, layers, widen = jax.random.split(key, 5)
        if vocab_size < 1:
            raise InputError(f"vocab_size {vocab_size} is below 1; pass the tokenizer's")

        def table(key: Array, size: int) -> Embedding:
            return Embedding(key, size, narrow, deviation=config.initializer_range)

        narrow, learned = config.table_width, config.positions == "learned"
        self.config = config
        self.tokens = table(tokens, vocab_size)
        self.positions = table(positions, config.max_length) if learned else None
        self.types = table(types, config.segment_types) if config.segment_types else None
        self.embedding_norm = norm_of(config, narrow) if config.embedding_norm else None
        self.widen = (
            Linear(widen, narrow, config.width, deviation=config.initializer_range)
            if narrow != config.width
            else None
        )
        self.layers = stack_layers(lambda one: Layer(config, one), layers, config.depth)
        self.final_norm = norm_of(config) if config.final_norm else None

    def __call__(
        self,
        tokens: Ids,
        segments: Ids,
        *,
        types: Ids | None = None,
        prefix: Bool[Array, "batch length"] | None = None,
        key: Array | None = None,
    ) -> Rows:
        """States in `compute_dtype`. No `key`: no dropout. No `types`: type 0 everywhere.

        Of a causal network, the places of `prefix` are seen by all of their segment.
        Raises `InputError` for rows longer than `max_length`, segments of another shape than the
        tokens, or types where the model has none.
        """
        x, _ = self._run(tokens, segments, types, prefix, key)
        return x if self.final_norm is None else self.final_norm(x)

    def mean_of_layers(
        self, tokens: Ids, segments: Ids, last: int, *, types: Ids | None = None
    ) -> Rows:
        """Mean of what the last layers give, each place of each brought to mean 0 and variance 1.

        float32, without dropout (Baevski et al. 2022, data2vec, section 3.3). Raises as a call does.
        """
        _, summed = self._run(tokens, segments, types, None, None, last)
        assert summed is not None
        return summed / min(last, self.config.depth)

    def _run(
        self,
        tokens: Ids,
        segments: Ids,
        types: Ids | None,
        prefix: Bool[Array, "batch length"] | None,
        key: Array | None,
        last: int = 0,
    ) -> tuple[Rows, Rows | None]:
        """The states after all layers, and the standardised ones of the last, added up."""
        config = self.config
        self._check(tokens, segments, types)
        embedding_key, layers_key = (None, None) if key is None else jax.random.split(key)
        positions = positions_of(segments)
        x = self._embed(tokens, positions, types)
        x = dropout(x.astype(config.compute_dtype), config.dropout, embedding_key)
        x = x if self.widen is None else self.widen(x)
        each = per_layer_inputs(config, layers_key)
        every = SharedLayerInputs(segments, rotary_tables(config, positions), prefix)
        is_last = jnp.arange(config.depth) >= config.depth - last

        def apply(
            layer: Layer, carry: tuple[Rows, Rows | None], one: tuple[PerLayerInputs, Array]
        ) -> tuple[Rows, Rows | None]:
            x, summed = carry
            x = layer(stream(config, x), one[0], every)
            if summed is not None:
                summed = summed + jnp.where(one[1], standardize(x, config.norm_epsilon), 0.0)
            return x, summed

        summed = jnp.zeros(x.shape, jnp.float32) if last else None
        return run_layers(self.layers, (x, summed), (each, is_last), apply, remat=config.remat)

    def _embed(self, tokens: Ids, positions: Ids, types: Ids | None) -> Rows:
        x = self.tokens(tokens, "vocab")
        if self.positions is not None:
            x = x + self.positions(positions)
        if self.types is not None:
            x = x + self.types(jnp.zeros_like(tokens) if types is None else types)
        return x if self.embedding_norm is None else self.embedding_norm(x)

    def _check(self, tokens: Ids, segments: Ids, types: Ids | None) -> None:
        length, limit = tokens.shape[-1], self.config.max_length
        if length > limit:
            raise InputError(
                f"rows of length {length} exceed max_length {limit} of the model; "
                f"prepare rows of at most {limit}, or make the model with max_length={length}"
            )
        if tokens.shape != segments.shape:
            raise InputError(
                f"segments of shape {segments.shape} beside tokens of shape {tokens.shape}; "
                "pass one segment id per token (packing.segments_of)"
            )
        if types is not None and self.types is None:
            raise InputError(
                "types were given to a model with segment_types 0; make it with segment_types=2"
            )


TransformerConfig.network = Transformer
