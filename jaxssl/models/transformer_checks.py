"""The fields of a `Transformer` that no network can have, each named with its limit and a way out."""

import dataclasses
from typing import TYPE_CHECKING, get_args, get_type_hints

from jaxssl.errors import InputError

if TYPE_CHECKING:
    from jaxssl.models.transformer import Transformer


def check(config: "Transformer") -> None:
    """Raise `InputError` for fields that no network can have."""
    check_names(config)
    check_numbers(config)
    check_heads(config)
    if config.window is not None and config.global_every == 1:
        raise InputError(
            f"window {config.window} has no effect with global_every 1 (all layers are global); "
            "pass global_every=3 for every third layer, or 0 for none"
        )


def check_names(config: "Transformer") -> None:
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, allowed = getattr(config, field.name), get_args(hints[field.name])
        if isinstance(value, str) and value not in allowed:
            raise InputError(
                f"{field.name} {value!r} is not one of {', '.join(allowed)}; pass one of these"
            )


def check_numbers(config: "Transformer") -> None:
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


def check_heads(config: "Transformer") -> None:
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
