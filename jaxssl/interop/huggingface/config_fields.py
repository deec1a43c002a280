"""Reads single fields of a config.json, each checked, and refuses those that would change numbers."""

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from jaxssl.data.stores.json_types import short
from jaxssl.errors import InputError

Choice = TypeVar("Choice")
Config = Mapping[str, Any]
# Sizes beyond these are no network's, and memory or time would run out before a tensor is compared with them.
LARGEST, MOST_LAYERS = 2**24, 10_000

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]

# Names of activations in a config.json -> ours, of those that are not gated
ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
# Those of ours -> the name that goes out
THEIR_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_new",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
}


def whole(config: Config, name: str, default: int | None = None, *, least: int = 1) -> int:
    """Returns a whole number of a config.json.

    Args:
      config: The content of the file.
      name: Name of the field.
      default: Value where the file lacks the field; None: the field is required.
      least: Smallest allowed value.

    Raises:
      InputError: The field is missing, or is no such number.
    """
    value, most = config.get(name, default), MOST_LAYERS if "layer" in name else LARGEST
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _refused(config, name, value, f"a whole number from {least} to {most}")
    return value


def real(config: Config, name: str, default: float | None = None) -> float:
    """Returns a number of a config.json that is not negative.

    Args:
      config: The content of the file.
      name: Name of the field.
      default: Value where the file lacks the field; None: the field is required.

    Raises:
      InputError: The field is missing, or is no such number.
    """
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise _refused(config, name, value, "a number of at least 0")
    return float(value)


def flag(config: Config, name: str, default: bool) -> bool:
    """Returns whether a field of a config.json is true.

    Args:
      config: The content of the file.
      name: Name of the field.
      default: Value where the file lacks the field.

    Raises:
      InputError: The field is neither true nor false.
    """
    value = config.get(name, default)
    if not isinstance(value, bool):
        raise _refused(config, name, value, "true or false")
    return value


def chosen(
    config: Config, name: str, choices: Mapping[str, Choice], default: str | None = None
) -> Choice:
    """Returns what ours is called that a field of a config.json names.

    Args:
      config: The content of the file.
      name: Name of the field.
      choices: Allowed values, and what each is for us.
      default: Value where the file lacks the field; None: the field is required.

    Raises:
      InputError: The field is missing, or names something that we do not have.
    """
    value = config.get(name, default)
    if not isinstance(value, str) or value not in choices:
        raise _refused(config, name, value, f"one of {', '.join(choices)}")
    return choices[value]


def require(config: Config, **values: Any) -> None:
    """Raises InputError where a field of a config.json is present with another value than is computed here.

    Args:
      config: The content of the file.
      **values: Names of fields, and the value that each must have.
    """
    for name, value in values.items():
        if name in config and config[name] != value:
            raise InputError(
                f"config.json of {config.get('model_type')} has {name}={short(config[name])}, and jaxssl "
                f"computes {name}={short(value)} alone: an import would change numbers, so there is none"
            )


def _refused(config: Config, name: str, value: Any, wanted: str) -> InputError:
    problem = f"has {name}={short(value)}" if name in config else f"has no {name}"
    return InputError(
        f"config.json of {short(config.get('model_type'))} {problem}; it must be {wanted} to be imported"
    )
