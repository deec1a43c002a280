"""The configuration of a transformer: every field that BERT, GPT-2 and the modern recipe differ in."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args, get_type_hints

from jaxtyping import Array

from jaxssl.errors import InputError
from jaxssl.models.layers.attention_choice import Wish


@dataclass(frozen=True)
class TransformerConfig:
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

    network: ClassVar[Callable[..., Any]]  # set by transformer.py, which imports this file

    def __post_init__(self) -> None:
        check(self)

    def make(self, key: Array, vocab_size: int) -> Any:
        """The network with fresh parameters, a `Transformer`."""
        return self.network(self, key, vocab_size)

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


def check(config: TransformerConfig) -> None:
    """Raise `InputError` for fields that no network can have."""
    check_names(config)
    check_numbers(config)
    check_heads(config)
    if config.window is not None and config.global_every == 1:
        raise InputError(
            f"window {config.window} has no effect with global_every 1 (all layers are global); "
            "pass global_every=3 for every third layer, or 0 for none"
        )


def check_names(config: TransformerConfig) -> None:
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, allowed = getattr(config, field.name), get_args(hints[field.name])
        if isinstance(value, str) and value not in allowed:
            raise InputError(
                f"{field.name} {value!r} is not one of {', '.join(allowed)}; pass one of these"
            )


def check_numbers(config: TransformerConfig) -> None:
    positive = ("depth", "width", "embedding_width", "heads", "max_length", "kv_heads", "mlp")
    for name in (*positive, "window"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise InputError(f"{name} {value} is below 1; pass a positive whole number")
    for name in ("segment_types", "global_every"):
        if getattr(config, name) < 0:
            raise InputError(
                f"{name} {getattr(config, name)} is below 0; pass 0 for none or a positive number"
            )
    for name in ("dropout", "attention_dropout"):
        rate = getattr(config, name)
        if rate is not None and not 0 <= rate < 1:
            raise InputError(
                f"{name} {rate} is not in [0, 1); pass a rate such as 0.1, or 0 for none"
            )


def check_heads(config: TransformerConfig) -> None:
    width, heads, kv_heads = config.width, config.heads, config.kv_heads
    if width % heads:
        divisors = (h for h in range(1, width + 1) if width % h == 0)
        near = min(divisors, key=lambda h: abs(h - heads))
        raise InputError(f"heads {heads} does not divide width {width}; pass {near} heads")
    if kv_heads is not None and heads % kv_heads:
        raise InputError(
            f"kv_heads {kv_heads} does not divide heads {heads}; pass a divisor of {heads}"
        )
    if config.positions == "rotary" and config.head_dim % 2:
        raise InputError(
            f"width {width} / heads {heads} = {config.head_dim} is odd, and rotary positions turn "
            "pairs of numbers; change width or heads"
        )
