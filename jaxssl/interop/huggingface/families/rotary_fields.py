"""The fields of a config.json that describe rotary positions, as old and as new versions write them."""

from collections.abc import Mapping
from typing import Any

from jaxssl.data.stores.json_types import short
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import real, require, whole
from jaxssl.models.layers.rotary import RotaryScaling
from jaxssl.models.transformer_config import TransformerConfig

DEFAULT_BASE = 10_000.0


def rotary_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a `TransformerConfig` for the rotary positions of a folder.

    Args:
      config: Content of config.json, with `rope_parameters` (transformers 5), or `rope_theta` and
        `rope_scaling` (before).

    Raises:
      InputError: The frequencies are scaled in a way that is not computed here.
    """
    given = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(given, dict) or any(isinstance(part, dict) for part in given.values()):
        raise InputError(
            f"config.json has rope_parameters={short(given)}; one set for all layers can be imported"
        )
    own = {"model_type": config.get("model_type"), **given}
    base = real({"rope_theta": config.get("rope_theta", DEFAULT_BASE), **own}, "rope_theta")
    for source in (config, own):
        require(source, partial_rotary_factor=1)
    kind = own.get("rope_type", own.get("type", "default"))
    if kind == "default":
        return {"rotary_base": base}
    if kind == "linear":
        return {"rotary_base": base, "rotary_scaling": RotaryScaling(real(own, "factor"))}
    if kind != "llama3":
        raise InputError(
            f"config.json has the rope_type {short(kind)}; default, linear and llama3 can be imported"
        )
    scaling = RotaryScaling(
        real(own, "factor"),
        whole(own, "original_max_position_embeddings"),
        real(own, "low_freq_factor"),
        real(own, "high_freq_factor"),
    )
    return {"rotary_base": base, "rotary_scaling": scaling}


def their_rotary_fields(network: TransformerConfig) -> dict[str, Any]:
    """Returns the fields of a config.json for the rotary positions of a `network`; all versions read them."""
    scaling = network.rotary_scaling
    fields: dict[str, Any] = {"rope_theta": network.rotary_base, "rope_scaling": None}
    if scaling is None:
        return fields
    if scaling.original_length is None:
        return fields | {"rope_scaling": {"rope_type": "linear", "factor": scaling.factor}}
    llama3 = {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "original_max_position_embeddings": scaling.original_length,
        "low_freq_factor": scaling.slow_turns,
        "high_freq_factor": scaling.fast_turns,
    }
    return fields | {"rope_scaling": llama3}
