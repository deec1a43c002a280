"""ModernBERT (Warner et al. 2024): fused kernels, windows in two layers of three, and two rotary bases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxssl.data.stores.json_types import short
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import chosen, flag, real, require, whole
from jaxssl.interop.huggingface.families.bert import dense, encoder_of, norm
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.network_check import check_network
from jaxssl.interop.huggingface.rules import Rule, split
from jaxssl.models.recipes import modernbert
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.masked_lm import MaskedLM

Gated = Literal["geglu", "geglu_tanh", "swiglu"]
GATED: dict[str, Gated] = {
    "gelu": "geglu",
    "gelu_new": "geglu_tanh",
    "gelu_pytorch_tanh": "geglu_tanh",
    "silu": "swiglu",
}
THEIRS = {"geglu": "gelu", "geglu_tanh": "gelu_pytorch_tanh", "swiglu": "silu"}
GLOBAL, LOCAL = "full_attention", "sliding_attention"
MASKED_LM, BASE = "ModernBertForMaskedLM", "ModernBertModel"


# Fields in which ModernBERTs differ
FREE = (
    *("depth", "width", "heads", "mlp", "max_length", "activation", "norm_epsilon", "bias"),
    *("tied_head", "head_bias", "window", "global_every", "rotary_base", "rotary_base_local"),
)


@dataclass(frozen=True)
class ModernBert(Family):
    """Folders with the model_type modernbert."""

    base: ClassVar[str] = BASE
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> MaskedLM:
        """Returns masked LM with the network of `config`; the head of an `architecture` requires more."""
        bias = flag(config, "norm_bias", False)
        rates = {f"{part}_dropout": 0.0 for part in ("attention", "embedding", "mlp")}
        require(config, **rates, attention_bias=bias, mlp_bias=bias)
        if architecture == MASKED_LM:
            require(config, classifier_activation="gelu", decoder_bias=True)
        every = _global_every(config)
        bases = {kind: _rotary_base(config, kind) for kind in (GLOBAL, LOCAL)}
        windows: dict[str, Any] = {"window": None, "global_every": 1, "rotary_base_local": None}
        if every != 1:
            window = whole(config, "local_attention", 128, least=2) // 2
            windows = {"window": window, "global_every": every, "rotary_base_local": bases[LOCAL]}
        encoder = modernbert(
            whole(config, "num_hidden_layers", 22),
            whole(config, "hidden_size", 768),
            whole(config, "num_attention_heads", 12),
            mlp=whole(config, "intermediate_size", 1152),
            max_length=whole(config, "max_position_embeddings", 8192),
            rotary_base=bases[GLOBAL],
            norm_epsilon=real(config, "norm_eps", 1e-5),
            activation=chosen(config, "hidden_activation", GATED, "gelu"),
            bias=bias,
            head_bias=flag(config, "classifier_bias", False),
            initializer_range=real(config, "initializer_range", 0.02),
            tied_head=flag(config, "tie_word_embeddings", True),
            **windows,
        )
        return MaskedLM(encoder)

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of the `objective`'s model for an `architecture`."""
        encoder, prefix = objective.encoder, "" if architecture == BASE else "model."
        rules = network_rules(prefix, encoder)
        if architecture != MASKED_LM:
            return rules
        rules += dense("head.dense", "transform", bias=encoder.head_bias)
        rules += norm("head.norm", "transform_norm", bias=encoder.bias)
        rules.append(Rule("decoder.bias", ("output_bias",)))
        if not encoder.tied_head:
            rules.append(Rule("decoder.weight", ("output_kernel",)))
        return rules

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on texts as in `spec`, for an `architecture`."""
        encoder = encoder_of(objective, "ModernBERT")
        check_encoder(encoder)
        if getattr(objective, "second_task", None) is not None:
            raise InputError(
                "ModernBERT has no head for pairs of texts; export without second_task"
            )
        local = encoder.rotary_base_local or encoder.rotary_base
        return {
            "architectures": [architecture],
            "model_type": "modernbert",
            "vocab_size": spec.vocab_size,
            "hidden_size": encoder.width,
            "num_hidden_layers": encoder.depth,
            "num_attention_heads": encoder.heads,
            "intermediate_size": encoder.inner,
            "max_position_embeddings": encoder.max_length,
            "norm_eps": encoder.norm_epsilon,
            "norm_bias": encoder.bias,
            "attention_bias": encoder.bias,
            "mlp_bias": encoder.bias,
            "hidden_activation": THEIRS[encoder.activation],
            "global_attn_every_n_layers": encoder.global_every,
            "layer_types": [LOCAL if local else GLOBAL for local in encoder.local_layers],
            "local_attention": 2 * (encoder.window or 64),
            "rope_parameters": {
                GLOBAL: {"rope_type": "default", "rope_theta": encoder.rotary_base},
                LOCAL: {"rope_type": "default", "rope_theta": local},
            },
            "global_rope_theta": encoder.rotary_base,
            "local_rope_theta": local,
            "attention_dropout": 0.0,
            "embedding_dropout": 0.0,
            "mlp_dropout": 0.0,
            "classifier_activation": "gelu",
            "classifier_bias": encoder.head_bias,
            "decoder_bias": True,
            "initializer_range": encoder.initializer_range,
            "tie_word_embeddings": encoder.tied_head,
            "pad_token_id": spec.pad,
            "bos_token_id": spec.begin,
            "cls_token_id": spec.begin,
            "eos_token_id": spec.end,
            "sep_token_id": spec.end,
        }

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        encoder_of(objective, "ModernBERT")
        return MASKED_LM if isinstance(objective, MaskedLM) else BASE


def network_rules(prefix: str, encoder: TransformerConfig) -> list[Rule]:
    """Returns the table of the network.

    Args:
      prefix: What the names of theirs begin with, "model." or nothing.
      encoder: The network.
    """
    bias, width, inner = encoder.bias, encoder.width, encoder.inner
    layer, ours = f"{prefix}layers.{{layer}}", "encoder/layers"
    tied = ("decoder.weight",) if encoder.tied_head else ()
    words = f"{prefix}embeddings.tok_embeddings.weight"
    rules = [Rule(words, ("encoder/tokens/embedding",), aliases=tied)]
    rules += norm(f"{prefix}embeddings.norm", "encoder/embedding_norm", bias=bias)
    # The first layer has no norm before its attention.
    rules.append(
        Rule(f"{layer}.attn_norm.weight", (f"{ours}/attention_norm/scale",), absent_layers=(0,))
    )
    if bias:
        path = f"{ours}/attention_norm/bias"
        rules.append(Rule(f"{layer}.attn_norm.bias", (path,), absent_layers=(0,), filler=0.0))
    parts = tuple(f"{ours}/attention/{part}" for part in ("query", "key", "value"))
    rules += fused(f"{layer}.attn.Wqkv", parts, (width,) * 3, bias=bias)
    rules += dense(f"{layer}.attn.Wo", f"{ours}/attention/output", bias=bias)
    rules += norm(f"{layer}.mlp_norm", f"{ours}/mlp_norm", bias=bias)
    rules += fused(
        f"{layer}.mlp.Wi", (f"{ours}/mlp/gate", f"{ours}/mlp/up"), (inner,) * 2, bias=bias
    )
    rules += dense(f"{layer}.mlp.Wo", f"{ours}/mlp/down", bias=bias)
    return rules + norm(f"{prefix}final_norm", "encoder/final_norm", bias=bias)


def fused(theirs: str, ours: tuple[str, ...], sizes: tuple[int, ...], *, bias: bool) -> list[Rule]:
    """Returns the rules of a dense layer of theirs whose outputs are those of several of ours.

    Args:
      theirs: Name of the layer.
      ours: Paths of ours.
      sizes: Outputs of each.
      bias: Whether there are biases.
    """
    kernels = tuple(f"{path}/kernel" for path in ours)
    rules = [Rule(f"{theirs}.weight", kernels, split(*sizes, transposed=True))]
    if bias:
        rules.append(Rule(f"{theirs}.bias", tuple(f"{path}/bias" for path in ours), split(*sizes)))
    return rules


def check_encoder(encoder: TransformerConfig) -> None:
    """Raises InputError where ModernBERT cannot compute what `encoder` does."""
    check_network(encoder, modernbert(), "ModernBERT", *FREE, field="encoder")
    no_pattern = encoder.window is not None and encoder.global_every == 0
    if encoder.dropout or no_pattern or encoder.activation not in THEIRS:
        raise InputError(
            "ModernBERT has a gated feed-forward part, a global first layer and dropout of attention weights "
            "alone; export this network as another family, or as numpy arrays"
        )


def _global_every(config: Mapping[str, Any]) -> int:
    """The number of layers from one global layer to the next; `layer_types` must say the same."""
    every, depth = config.get("global_attn_every_n_layers"), whole(config, "num_hidden_layers", 22)
    listed = config.get("layer_types")
    if isinstance(listed, list):
        later = [number for number, kind in enumerate(listed) if kind == GLOBAL and number]
        every = later[0] if later else max(depth, 2)
        pattern = [GLOBAL if number % every == 0 else LOCAL for number in range(depth)]
        if listed != pattern:
            raise InputError(
                f"config.json has layer_types={short(listed)}, and jaxssl has layers of which every n-th is "
                "global, from the first one on: an import would change numbers, so there is none"
            )
        return every
    return whole({"every": 3 if every is None else every}, "every")


def _rotary_base(config: Mapping[str, Any], kind: str) -> float:
    """The base of rotary positions in global or local layers, as older or newer files say it."""
    name = "global_rope_theta" if kind == GLOBAL else "local_rope_theta"
    default = 160_000.0 if kind == GLOBAL else 10_000.0
    parameters = config.get("rope_parameters")
    if parameters is None:
        if config.get(name) is None and kind == LOCAL and name in config:
            return _rotary_base(config, GLOBAL)
        return real(config, name, default)
    own = parameters.get(kind) if isinstance(parameters, dict) else None
    if not isinstance(own, dict) or own.get("rope_type", "default") != "default":
        raise InputError(
            f"config.json has rope_parameters={short(parameters)}, and jaxssl computes the type default of "
            f"{kind} alone: an import would change numbers, so there is none"
        )
    return real(own, "rope_theta", default)


FAMILY = ModernBert()
