"""The configuration of a transformer: every field that BERT, GPT-2 and the modern recipe differ in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Array

from jaxssl.errors import InputError, check_above, check_at_least, checked
from jaxssl.models.layers.attention_choice import AttentionImplementation
from jaxssl.models.layers.remat import Remat
from jaxssl.models.layers.rotary import RotaryScaling


@dataclass(frozen=True)
@checked
class TransformerConfig:
    """The shape of a transformer and how it is computed; `recipes.py` has BERT's, GPT-2's and the modern one.

    Raises `InputError` for fields that no network can have.
    """

    depth: int = 4
    """Number of layers."""
    width: int = 256
    """Width of the states (of the residual stream)."""
    embedding_width: int | None = None
    """Width of the embedding tables, whose rows a dense layer then widens (ELECTRA-Small). None: `width`."""
    heads: int = 4
    """Number of query heads of attention."""
    kv_heads: int | None = None
    """Number of key and value heads, shared by the query heads (Ainslie et al. 2023, GQA). None: `heads`."""
    head_width: int | None = None
    """Width of a head; all heads together may be wider than the states (T5-11B). None: `width / heads`."""
    qkv_bias: bool | None = None
    """Whether the layers that make queries, keys and values have biases (Qwen 2). None: `bias`."""
    attention_scale: float | None = None
    """Factor of the products of queries and keys. None: 1 / sqrt(width of a head); T5 has 1."""
    qk_norm: bool = False
    """Normalise the queries and keys of each head before rotary positions (ViT-22B, Qwen3); see `norm`."""
    mlp: int | None = None
    """Inner width of the feed-forward part. None: `4 * width`."""
    max_length: int = 512
    """Longest row in tokens that the network takes; the number of learned positions."""
    longer_rows: bool = False
    """Accept rows longer than `max_length`; needs rotary or relative positions, which any length has."""
    positions: Literal["learned", "rotary", "relative"] = "learned"
    """Positions: a learned table (BERT), rotations of queries and keys (Su et al. 2021, RoFormer), or learned
    biases of scores by distance, one table for all layers (Raffel et al. 2020, T5; never a fused kernel)."""
    position_offset: int = 0
    """Rows of the table of learned positions before that of the first one; no token reads them (RoBERTa and
    BART: 2)."""
    relative_buckets: int = 32
    """Ranges of distances that relative positions tell apart; unless `causal`, half of them ahead."""
    relative_distance: int = 128
    """Distance from which on all are in one range of relative positions."""
    rotary_base: float = 10_000.0
    """Base of the rotary frequencies; a larger one is for longer rows."""
    rotary_base_local: float | None = None
    """Base of the rotary frequencies in local layers (ModernBERT). None: `rotary_base`."""
    rotary_scaling: RotaryScaling | None = None
    """How rotary frequencies are lowered for rows longer than those trained on (Llama 3). None: not."""
    norm: Literal["layer", "rms"] = "layer"
    """Norm: LayerNorm (Ba et al. 2016) or RMSNorm (Zhang & Sennrich 2019)."""
    norm_first: bool = False
    """Normalise what a part reads, `x + f(norm(x))` (GPT-2), instead of the sum, `norm(x + f(x))` (BERT)."""
    norm_before_first: bool = True
    """Normalise what the first attention reads, too, if `norm_first` is set. False: ModernBERT."""
    norm_epsilon: float = 1e-12
    """Number added to the variance (or mean square) in every norm."""
    activation: Literal[
        "gelu", "gelu_tanh", "quick_gelu", "relu", "silu", "swiglu", "geglu", "geglu_tanh"
    ] = "gelu"
    """Function inside the feed-forward part; swiglu and geglu (exact, or with tanh as in T5 1.1) are gated by
    another kernel (Shazeer 2020). quick_gelu is `x * sigmoid(1.702 x)` (CLIP)."""
    causal: bool = False
    """Whether a position sees no later ones (a decoder, GPT)."""
    segment_types: int = 2
    """Number of segment types, such as sentence A and sentence B (BERT). 0: no table of types."""
    bias: bool = True
    """Whether dense layers and layer norms have biases."""
    embedding_scale: float = 1.0
    """Factor of token embeddings, before positions are added (Vaswani et al. 2017: `sqrt(width)`)."""
    embedding_norm: bool = True
    """Normalise the embeddings before the first layer (BERT)."""
    final_norm: bool = False
    """Normalise the states after the last layer; networks with `norm_first` need it."""
    output_scale: float = 1.0
    """Factor of the states that the network returns, behind the final norm (T5 with a tied head:
    `1 / sqrt(width)`)."""
    tied_head: bool = True
    """Predict tokens with the embedding table (Press & Wolf 2017). False: masked and causal language models
    and decoders beside an encoder have an output kernel of their own."""
    head_bias: bool = True
    """Whether the dense layer in the head of masked LM has a bias; ModernBERT's has none."""
    window: int | None = None
    """Positions on either side that a local layer sees (Beltagy et al. 2020, Longformer). None: all layers
    are global."""
    global_every: int = 1
    """A layer is global if its number, counted from 0, is a multiple of this (ModernBERT: 3). 0: none is."""
    dropout: float = 0.1
    """Dropout rate behind the embedding and behind each part of a layer (Srivastava et al. 2014)."""
    attention_dropout: float | None = None
    """Dropout rate of the attention weights. None: `dropout`."""
    initializer_range: float = 0.02
    """Standard deviation of initial kernels and tables."""
    scale_residual: bool = False
    """Divide initial kernels that write to the residual stream by `sqrt(2 * depth)` (GPT-2)."""
    attention: AttentionImplementation = "auto"
    """What computes attention: a fused kernel where one can (auto), never (xla), or always (fused)."""
    remat: Remat = "auto"
    """What a layer keeps for the backward pass, which computes all else again (Chen et al. 2016): its input
    alone (inputs), also what the backward pass reads but for cheap functions of that (activations), and also
    the scores of attention where XLA computes it (scores). auto: scores on CPUs, activations elsewhere."""
    unroll: int | None = None
    """Layers that are compiled one after another, in an iteration of the loop over layers. More make a step
    faster on TPUs and compiling slower. None: all layers of networks of at most 24 on TPUs and of 2
    elsewhere, else 1."""
    sequence_parallel: bool = False
    """Shard the states between the parts of layers by length, over the mesh axis `tensor`, for long rows
    (Korthikanti et al. 2022)."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type that states are computed in; parameters are float32 always."""

    network: ClassVar[Callable[..., Any]]
    """Class of the network, `Transformer`; set by transformer.py, which imports this file."""

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_heads(self)
        _check_positions(self)

    def make(self, key: Array, vocab_size: int) -> Any:
        """Returns a `Transformer` with parameters drawn from `key`, for token ids below `vocab_size`."""
        return self.network(self, key, vocab_size)

    @property
    def layer_loop(self) -> dict[str, Any]:
        """How stacked layers run one after another, as arguments of `run_layers` and `scan_layers`."""
        return {"remat": self.remat, "unroll": self.unroll, "dtype": self.compute_dtype}

    @property
    def table_width(self) -> int:
        """Width of the embedding tables."""
        return self.width if self.embedding_width is None else self.embedding_width

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.width // self.heads if self.head_width is None else self.head_width

    @property
    def inner(self) -> int:
        """Inner width of the feed-forward part."""
        return 4 * self.width if self.mlp is None else self.mlp

    @property
    def attention_rate(self) -> float:
        """Dropout rate of the attention weights."""
        return self.dropout if self.attention_dropout is None else self.attention_dropout

    @property
    def residual_stddev(self) -> float:
        """Standard deviation of the initial kernels that write to the residual stream."""
        return self.initializer_range / ((2 * self.depth) ** 0.5 if self.scale_residual else 1)

    @property
    def local_layers(self) -> tuple[bool, ...]:
        """For every layer, whether it attends within the window only."""
        if self.window is None:
            return (False,) * self.depth
        every = self.global_every
        return tuple(every == 0 or layer % every != 0 for layer in range(self.depth))


def check_length(
    config: TransformerConfig, length: int, *, network: str = "model", rows: str = "rows"
) -> None:
    """Checks that a network takes rows of `length` tokens.

    Args:
      config: The network's configuration.
      length: Tokens of a row.
      network: Name of the network in the message, best the field that holds its configuration, such as
        "encoder" or "decoder".
      rows: What the rows are, such as "captions", for the message.

    Raises:
      InputError: The rows are longer than `max_length` and `longer_rows` is not set.
    """
    limit = config.max_length
    if length <= limit or config.longer_rows:
        return
    field = "" if network == "model" else f"{network}."
    longer = f", or {field}longer_rows to True" if config.positions != "learned" else ""
    raise InputError(
        f"{rows} of {length} tokens exceed max_length {limit} of the {network}; prepare {rows} of at most "
        f"{limit} tokens, or set {field}max_length to {length}{longer}"
    )


def _check_numbers(config: TransformerConfig) -> None:
    positive = ("depth", "width", "embedding_width", "heads", "kv_heads", "head_width", "mlp")
    for name in (*positive, "max_length", "window", "unroll"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise InputError(f"{name}={value} is below 1; set {name} to a positive whole number")
    for name in ("segment_types", "global_every", "position_offset"):
        value = getattr(config, name)
        if value < 0:
            raise InputError(
                f"{name}={value} is below 0; set {name} to a positive whole number, or 0 for none"
            )
    check_at_least(config, 0, "norm_epsilon", "initializer_range")
    check_above(config, 0, "rotary_base", "rotary_base_local", "attention_scale")
    check_above(config, 0, "embedding_scale", "output_scale")
    for name in ("dropout", "attention_dropout"):
        rate = getattr(config, name)
        if rate is not None and not 0 <= rate < 1:
            raise InputError(
                f"{name}={rate} is not in [0, 1); set {name} to a rate such as 0.1, or 0 for none"
            )


def _check_heads(config: TransformerConfig) -> None:
    width, heads, kv_heads = config.width, config.heads, config.kv_heads
    if config.head_width is None and width % heads:
        divisors = (h for h in range(1, width + 1) if width % h == 0)
        near = min(divisors, key=lambda h: abs(h - heads))
        raise InputError(
            f"heads={heads} does not divide width={width}; set heads to {near}, or head_width to the width "
            "of a head"
        )
    if kv_heads is not None and heads % kv_heads:
        raise InputError(
            f"kv_heads={kv_heads} does not divide heads={heads}; set kv_heads to a divisor of {heads}"
        )
    if config.positions == "rotary" and config.head_dim % 2:
        own = f"width={width} / heads={heads}" if config.head_width is None else "head_width"
        raise InputError(
            f"{own} = {config.head_dim} is odd, and rotary positions rotate pairs of numbers; set head_width "
            f"to an even number such as {config.head_dim + 1}"
        )


def _check_positions(config: TransformerConfig) -> None:
    if config.window is not None and config.global_every == 1:
        raise InputError(
            f"window={config.window} has no effect with global_every=1 (all layers are global); set "
            "global_every to 3 for every third layer, or to 0 for none"
        )
    if config.position_offset and config.positions != "learned":
        raise InputError(
            f"position_offset={config.position_offset} counts rows of the table of learned positions, and "
            f"positions={config.positions!r} has none; set position_offset to 0"
        )
    if config.rotary_scaling is not None and config.positions != "rotary":
        raise InputError(
            f"rotary_scaling is of rotary positions, and positions={config.positions!r}; set "
            "rotary_scaling to None"
        )
    _check_relative(config)
    if config.longer_rows and config.positions == "learned":
        raise InputError(
            f"longer_rows=True needs positions that can be computed, and positions='learned' has a table of "
            f"max_length={config.max_length} rows; set positions to 'rotary', or raise max_length"
        )


def _check_relative(config: TransformerConfig) -> None:
    ways = 1 if config.causal else 2
    if config.relative_buckets < 2 * ways:
        raise InputError(
            f"relative_buckets={config.relative_buckets} is below {2 * ways}: a direction needs two ranges "
            "of distances; set relative_buckets to 32"
        )
    exact = config.relative_buckets // ways // 2  # ranges of one distance
    if config.relative_distance <= exact:
        raise InputError(
            f"relative_distance={config.relative_distance} is not above {exact}, the distances that have a "
            f"range of their own with relative_buckets={config.relative_buckets}; set relative_distance to "
            f"{8 * exact}"
        )
