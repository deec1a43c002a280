"""One transformer for BERT, GPT-2 and the modern recipe, chosen by the fields of its configuration.

Shapes: tokens and segments int32 [batch, length], segment 0 is padding; states [batch, length,
width]. Rows are packed: attention and positions are per segment (packing.py), so that no document
sees another. T5's relative biases (Raffel et al. 2020, section 2.1) are not here: positions are
learned, or rotary, which are relative too and go with fused kernels.

References: Vaswani et al. 2017; Devlin et al. 2019 (BERT); Radford et al. 2019 (GPT-2); Warner et
al. 2024 (ModernBERT).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from jaxssl.errors import InputError
from jaxssl.models.attention import attention
from jaxssl.models.attention_choice import Wish
from jaxssl.models.dropout import dropout
from jaxssl.models.layer_inputs import EachLayer, EveryLayer, each_layer, turn
from jaxssl.models.layers import (
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    RMSNorm,
    make_norm,
    standardize,
)
from jaxssl.models.layout import constrain
from jaxssl.models.packing import positions_of
from jaxssl.models.rotary import rotate
from jaxssl.models.stack import run_layers, stack_layers
from jaxssl.models.transformer_checks import check

Rows = Float[Array, "batch length width"]
Ids = Int[Array, "batch length"]


@dataclass(frozen=True)
class Transformer:
    """The shape of a network; `recipes.py` has BERT's, GPT-2's and the modern one."""

    depth: int = 4
    width: int = 256
    embedding_width: int | None = None  # of the tables, which a dense layer widens; None: width
    heads: int = 4
    kv_heads: int | None = None  # key and value heads, shared by query heads; None: heads
    mlp: int | None = None  # inner width of the feed-forward part; None: 4 * width
    max_length: int = 512  # longest row that the model takes
    positions: Literal["learned", "rotary"] = "learned"
    rotary_base: float = 10_000.0
    rotary_base_local: float | None = None  # base of the local layers; None: rotary_base
    norm: Literal["layer", "rms"] = "layer"
    norm_first: bool = False  # True: x + f(norm(x)) (GPT-2); False: norm(x + f(x)) (BERT)
    norm_before_first: bool = True  # False: the first attention reads x itself (ModernBERT)
    norm_epsilon: float = 1e-12
    activation: Literal["gelu", "gelu_tanh", "swiglu", "geglu"] = "gelu"
    causal: bool = False  # True: a place sees none that come later
    segment_types: int = 2  # rows of the table of types (sentence A, sentence B); 0: no table
    bias: bool = True
    embedding_norm: bool = True
    final_norm: bool = False
    window: int | None = None  # places on either side that a local layer sees; None: all global
    global_every: int = 1  # layer i is global if i % global_every == 0; 0: none is
    dropout: float = 0.1  # after the embedding and after each part of a layer
    attention_dropout: float | None = None  # on the attention weights; None: dropout
    initializer_range: float = 0.02  # standard deviation of every initial kernel and table
    scale_residual: bool = False  # kernels that write to x start smaller by sqrt(2 depth) (GPT-2)
    attention: Wish = "auto"  # a fused kernel where one can, XLA elsewhere; or one of them
    remat: Literal["none", "dots", "full"] = "none"  # what is computed twice: see stack.py
    sequence_parallel: bool = (
        False  # for long rows: see `stream`; only a mesh with tensor > 1 knows it
    )
    compute_dtype: Literal["float32", "bfloat16"] = "float32"  # parameters are float32 always

    def __post_init__(self) -> None:
        check(self)

    def make(self, key: Array, vocab_size: int) -> "TransformerModel":
        """The network with fresh parameters."""
        return TransformerModel(self, key, vocab_size)

    @property
    def table_width(self) -> int:
        return self.width if self.embedding_width is None else self.embedding_width

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def inner(self) -> int:
        return 4 * self.width if self.mlp is None else self.mlp

    @property
    def residual_deviation(self) -> float:
        """Standard deviation of the kernels that write to the residual stream."""
        return self.initializer_range / ((2 * self.depth) ** 0.5 if self.scale_residual else 1)

    @property
    def local_layers(self) -> tuple[bool, ...]:
        """For every layer, whether it attends within the window only."""
        if self.window is None:
            return (False,) * self.depth
        every = self.global_every
        return tuple(every == 0 or layer % every != 0 for layer in range(self.depth))


class Attention(nnx.Module):
    """Attention of a sequence to itself or to another, with its four kernels."""

    def __init__(self, config: Transformer, key: Array):
        keys = jax.random.split(key, 4)
        self.config = config
        inner, kv_inner = config.width, (config.kv_heads or config.heads) * config.head_dim
        sd, bias = config.initializer_range, config.bias
        self.query = Linear(keys[0], config.width, inner, deviation=sd, bias=bias)
        self.key = Linear(keys[1], config.width, kv_inner, deviation=sd, bias=bias)
        self.value = Linear(keys[2], config.width, kv_inner, deviation=sd, bias=bias)
        self.output = Linear(
            keys[3], inner, config.width, deviation=config.residual_deviation, bias=bias
        )

    def __call__(self, x: Rows, each: EachLayer, every: EveryLayer) -> Rows:
        """To itself."""
        queries, keys, values = self._heads(x, x)
        if every.rotation is not None:
            cosine, sine = every.rotation[:, 0]
            if each.local is not None:
                cosine, sine = jnp.where(each.local, every.rotation[:, 1], every.rotation[:, 0])
            queries, keys = rotate(queries, cosine, sine), rotate(keys, cosine, sine)
        mixed = attention(
            queries,
            keys,
            values,
            every.segments,
            causal=self.config.causal,
            prefix=every.prefix,
            window=each.window,
            dropout_rate=self._rate,
            key=None if each.keys is None else each.keys[0],
            wish=self.config.attention,
        )
        return self.output(mixed.reshape(*x.shape[:2], -1))

    def across(
        self, x: Rows, segments: Ids, others: Rows, other_segments: Ids, key: Array | None
    ) -> Rows:
        """To the states of another sequence, each segment to that of the same number."""
        mixed = attention(
            *self._heads(x, others),
            segments,
            key_segments=other_segments,
            dropout_rate=self._rate,
            key=key,
            wish=self.config.attention,
        )
        return self.output(mixed.reshape(*x.shape[:2], -1))

    def _heads(self, x: Rows, source: Rows) -> tuple[Array, Array, Array]:
        """Queries of x, keys and values of the source: [batch, places, heads, head_dim]."""

        def cut(y: Array) -> Array:
            return y.reshape(*y.shape[:2], -1, self.config.head_dim)

        return cut(self.query(x)), cut(self.key(source)), cut(self.value(source))

    @property
    def _rate(self) -> float:
        own = self.config.attention_dropout
        return self.config.dropout if own is None else own


class Layer(nnx.Module):
    """Attention, then feed-forward, each added to the stream."""

    def __init__(self, config: Transformer, key: Array):
        first, second = jax.random.split(key)
        self.config = config
        self.attention = Attention(config, first)
        self.attention_norm = norm_of(config)
        self.mlp = feed_forward_of(config, second)
        self.mlp_norm = norm_of(config)

    def __call__(self, x: Rows, each: EachLayer, every: EveryLayer) -> Rows:
        _, after_attention, after_mlp = (None,) * 3 if each.keys is None else each.keys

        def norm(x: Rows) -> Rows:
            normed = self.attention_norm(x)
            return normed if each.raw_input is None else jnp.where(each.raw_input, x, normed)

        def attend(x: Rows) -> Rows:
            return self.attention(x, each, every)

        x = add_part(self.config, x, attend, norm, after_attention)
        return add_part(self.config, x, self.mlp, self.mlp_norm, after_mlp)


def add_part(
    config: Transformer,
    x: Rows,
    part: Callable[[Rows], Rows],
    norm: Callable[[Rows], Rows],
    key: Array | None,
) -> Rows:
    """x + part(norm(x)), or norm(x + part(x)); with dropout behind the part."""
    if config.sequence_parallel:
        x, part = stream(config, x), gathered(config, part)
    if config.norm_first:
        return x + dropout(part(norm(x)), config.dropout, key)
    return norm(x + dropout(part(x), config.dropout, key))


def stream(config: Transformer, x: Rows) -> Rows:
    """What lies between the parts of layers, cut by rows.

    With `sequence_parallel` by length over the tensor axis, too, so that none of its devices keeps all places
    of every layer's input (Korthikanti et al. 2022, "Reducing activation recomputation in large transformer
    models", section 4.2.2).
    """
    return constrain(x, "batch", "length" if config.sequence_parallel else None, None)


def gathered(config: Transformer, part: Callable[[Rows], Rows]) -> Callable[[Rows], Rows]:
    """The part of a `stream`: it gathers what it reads and scatters what it gives."""
    return lambda x: stream(config, part(constrain(x, "batch", None, None)))


def norm_of(config: Transformer, width: int | None = None) -> LayerNorm | RMSNorm:
    width = config.width if width is None else width
    return make_norm(config.norm, width, epsilon=config.norm_epsilon, bias=config.bias)


def feed_forward_of(config: Transformer, key: Array) -> FeedForward:
    return FeedForward(
        key,
        config.width,
        config.inner,
        activation=config.activation,
        bias=config.bias,
        deviation=config.initializer_range,
        out_deviation=config.residual_deviation,
    )


class TransformerModel(nnx.Module):
    """Tokens to states: a plain pytree of float32 parameters, with `config` as static data."""

    def __init__(self, config: Transformer, key: Array, vocab_size: int):
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
        each = each_layer(config, layers_key)
        every = EveryLayer(segments, turn(config, positions), prefix)
        is_last = jnp.arange(config.depth) >= config.depth - last

        def apply(
            layer: Layer, carry: tuple[Rows, Rows | None], one: tuple[EachLayer, Array]
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


# `cross` is of the decoder's layers, encoder_decoder.py.
LAYOUT = (
    (r"tokens/embedding", ("vocab", "embed")),
    (r"positions/embedding", (None, "embed")),
    (r"types/embedding", (None, "embed")),
    (r"(embedding_norm|final_norm)/(scale|bias)", (None,)),
    (r"widen/kernel", ("embed", None)),
    (r"widen/bias", (None,)),
    (r"layers/(attention_norm|cross_norm|mlp_norm)/(scale|bias)", ("layers", None)),
    (r"layers/(attention|cross)/query/kernel", ("layers", "embed", "heads")),
    (r"layers/(attention|cross)/query/bias", ("layers", "heads")),
    (r"layers/(attention|cross)/(key|value)/kernel", ("layers", "embed", "kv_heads")),
    (r"layers/(attention|cross)/(key|value)/bias", ("layers", "kv_heads")),
    (r"layers/(attention|cross)/output/kernel", ("layers", "heads", "embed")),
    (r"layers/mlp/(up|gate)/kernel", ("layers", "embed", "mlp")),
    (r"layers/mlp/(up|gate)/bias", ("layers", "mlp")),
    (r"layers/mlp/down/kernel", ("layers", "mlp", "embed")),
    (r"layers/((attention|cross)/output|mlp/down)/bias", ("layers", None)),
)
