"""T5, versions 1.0 and 1.1 (Raffel et al. 2020): T5ForConditionalGeneration and T5Model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import chosen, flag, real, require, whole
from jaxssl.interop.huggingface.families.bert import dense, norm
from jaxssl.interop.huggingface.family import Family
from jaxssl.interop.huggingface.network_check import check_network
from jaxssl.interop.huggingface.rules import Rule
from jaxssl.models.encoder_decoder import check_pair
from jaxssl.models.recipes import t5
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.denoising import Denoising
from jaxssl.objectives.span_corruption import SpanCorruption

HEAD = "T5ForConditionalGeneration"
SENTINELS = 100  # of the published tokenizers, `<extra_id_0>` first, which has the highest id
Activation = Literal["relu", "gelu", "gelu_tanh", "silu", "geglu", "geglu_tanh", "swiglu"]
ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "silu": "silu",
    "gated-gelu": "geglu_tanh",  # with tanh, in spite of its name
    "gated-gelu_new": "geglu_tanh",
    "gated-gelu_python": "geglu",
    "gated-silu": "swiglu",
}
THEIR_ACTIVATIONS = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
FREE = (
    *("depth", "width", "heads", "head_width", "mlp", "max_length", "norm_epsilon", "activation"),
    *("relative_buckets", "relative_distance", "causal", "tied_head", "output_scale"),
)
# Of both halves the same
SAME = (
    *("width", "heads", "norm_epsilon", "activation"),
    *("relative_buckets", "relative_distance"),
)
PARTS = {"q": "query", "k": "key", "v": "value", "o": "output"}


@dataclass(frozen=True)
class T5(Family):
    """Folders with the model_type t5."""

    base: ClassVar[str] = "T5Model"
    """Architecture of a folder whose config.json names none."""

    def objective(self, config: Mapping[str, Any], architecture: str) -> SpanCorruption:
        """Returns span corruption with the networks of `config`, whatever the `architecture`."""
        require(config, is_encoder_decoder=True, is_decoder=False)
        depth, width = whole(config, "num_layers", 6), whole(config, "d_model", 512)
        tied = flag(config, "tie_word_embeddings", True)
        # Newer versions say True everywhere, and write the other field where the head is not tied.
        is_scaled = flag(config, "scale_decoder_outputs", tied)
        encoder = t5(
            depth,
            width,
            whole(config, "num_heads", 8),
            head_width=whole(config, "d_kv", 64),
            mlp=whole(config, "d_ff", 2048),
            positions="relative",
            relative_buckets=whole(config, "relative_attention_num_buckets", 32),
            relative_distance=whole(config, "relative_attention_max_distance", 128),
            attention_scale=1.0,
            max_length=whole(config, "n_positions", 512),
            longer_rows=True,
            norm_epsilon=real(config, "layer_norm_epsilon", 1e-6),
            activation=chosen(config, "feed_forward_proj", ACTIVATIONS, "relu"),
            dropout=real(config, "dropout_rate", 0.1),
        )
        decoder = replace(
            encoder,
            depth=_or_default(config, "num_decoder_layers", depth),
            causal=True,
            tied_head=is_scaled,
            output_scale=width**-0.5 if is_scaled else 1.0,
        )
        last = whole(config, "vocab_size", 32128) - 1
        return SpanCorruption(
            encoder, decoder, sentinels=min(SENTINELS, last + 1), first_sentinel=last
        )

    def for_tokenizer(self, objective: Any, tokenizer: Tokenizer | None) -> Any:
        """Returns the `objective` with the sentinels of the folder's `tokenizer`, if it has any."""
        if tokenizer is None:
            return objective
        numbers = range(len(tokenizer.special) - 1, -1, -1)
        names = [tokenizer.piece(number) for number in numbers]
        if "<extra_id_0>" not in names:
            return objective
        first = numbers[names.index("<extra_id_0>")]
        count = sum(name.startswith("<extra_id_") for name in names)
        return replace(objective, first_sentinel=first, sentinels=min(count, first + 1))

    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of the `objective`'s model for an `architecture`."""
        copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
        tied = objective.decoder.tied_head
        aliases = (*copies, "lm_head.weight") if tied else copies
        rules = [Rule("shared.weight", ("encoder/tokens/embedding",), aliases=aliases)]
        rules += _half_rules("encoder", objective.encoder)
        rules += _half_rules("decoder", objective.decoder)
        if not tied and architecture == HEAD:
            # A table that is not scaled may still be shared by the newest versions.
            rules.append(Rule("lm_head.weight", ("output_kernel",), aliases=("shared.weight",)))
        return rules

    def config(self, objective: Any, spec: Any, architecture: str) -> dict[str, Any]:
        """Returns the config.json of an `objective` on texts as in `spec`, for an `architecture`."""
        encoder, decoder = objective.encoder, objective.decoder
        _check(encoder, decoder)
        size = getattr(objective, "table_size", int)(spec.vocab_size)
        return {
            "architectures": [architecture],
            "model_type": "t5",
            "is_encoder_decoder": True,
            "vocab_size": size,
            "d_model": encoder.width,
            "d_kv": encoder.head_dim,
            "d_ff": encoder.inner,
            "num_layers": encoder.depth,
            "num_decoder_layers": decoder.depth,
            "num_heads": encoder.heads,
            "n_positions": encoder.max_length,
            "relative_attention_num_buckets": encoder.relative_buckets,
            "relative_attention_max_distance": encoder.relative_distance,
            "feed_forward_proj": THEIR_ACTIVATIONS[encoder.activation],
            "layer_norm_epsilon": encoder.norm_epsilon,
            "dropout_rate": encoder.dropout,
            "tie_word_embeddings": decoder.tied_head,
            "pad_token_id": spec.pad,
            "eos_token_id": spec.end,
            "decoder_start_token_id": spec.begin,
        }

    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with an `objective` goes out as."""
        check_writes(objective)
        return HEAD

    def ignored(self) -> Sequence[str]:
        """Returns the names of biases that the published folders hold and no version reads."""
        return (r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",)


def check_writes(objective: Any) -> None:
    """Raises InputError where an `objective` has no decoder that sees all that its encoder has read."""
    if not isinstance(objective, (SpanCorruption, Denoising)):
        raise InputError(f"{type(objective).__name__} trains no encoder with a decoder")
    if isinstance(objective, Denoising) and objective.bottleneck is not None:
        raise InputError(
            f"transformers shows a decoder all states; bottleneck={objective.bottleneck}"
        )


def _or_default(config: Mapping[str, Any], name: str, default: int) -> int:
    """A number, and the `default` where the file holds null or lacks the field."""
    return default if config.get(name) is None else whole(config, name)


def _check(encoder: TransformerConfig, decoder: TransformerConfig) -> None:
    """Raises InputError where T5 has no such pair."""
    check_pair(encoder, decoder)
    theirs = t5(positions="relative", attention_scale=1.0)
    check_network(encoder, theirs, "T5", *FREE, field="encoder")
    check_network(decoder, theirs, "T5", *FREE, field="decoder")
    pairs = [(name, getattr(encoder, name), getattr(decoder, name)) for name in SAME]
    pairs.append(("mlp", encoder.inner, decoder.inner))
    pairs.append(("head_width", encoder.head_dim, decoder.head_dim))
    for name, its, mine in [*pairs, ("output_scale", 1.0, encoder.output_scale)]:
        if its != mine:
            raise InputError(
                f"T5 has the same {name} in both halves, and here are {its} and {mine}"
            )
    if encoder.activation not in THEIR_ACTIVATIONS:
        raise InputError(f"T5 has no feed-forward part with activation={encoder.activation}")
    scale = decoder.width**-0.5 if decoder.tied_head else 1.0
    if decoder.output_scale != scale:
        raise InputError(
            f"T5 with tied_head={decoder.tied_head} has output_scale={scale}, and decoder.output_scale is "
            f"{decoder.output_scale}"
        )


def _half_rules(half: str, network: TransformerConfig) -> list[Rule]:
    """The table of the encoder or the decoder."""
    block, ours = f"{half}.block.{{layer}}.layer", f"{half}/layers"
    attention, mlp = f"{block}.0.SelfAttention", f"{block}.{2 if network.causal else 1}"
    gated = network.activation in ("geglu", "geglu_tanh", "swiglu")
    table = f"{half}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    rules = [Rule(table, (f"{half}/relative_biases/embedding",))]
    for theirs, own in PARTS.items():
        rules += dense(f"{attention}.{theirs}", f"{ours}/attention/{own}", bias=False)
    rules += norm(f"{block}.0.layer_norm", f"{ours}/attention_norm", bias=False)
    if network.causal:
        for theirs, own in PARTS.items():
            name = f"{block}.1.EncDecAttention.{theirs}"
            rules += dense(name, f"{ours}/cross/{own}", bias=False)
        rules += norm(f"{block}.1.layer_norm", f"{ours}/cross_norm", bias=False)
    names = {"wi_0": "gate", "wi_1": "up"} if gated else {"wi": "up"}
    for theirs, own in (names | {"wo": "down"}).items():
        rules += dense(f"{mlp}.DenseReluDense.{theirs}", f"{ours}/mlp/{own}", bias=False)
    rules += norm(f"{mlp}.layer_norm", f"{ours}/mlp_norm", bias=False)
    return rules + norm(f"{half}.final_layer_norm", f"{half}/final_norm", bias=False)


FAMILY = T5()
"""Folders of Hugging Face's transformers, read and written without torch."""
