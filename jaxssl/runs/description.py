"""Converts configurations to JSON and back. A dataclass becomes its class and its fields:

{"class": "jaxssl.objectives.masked_lm:MaskedLM", "rate": 0.15, "encoder": {"class": …}}
{"class": "mine:Mine", "defined_in": "/home/me/mine.py", …}      a class defined by the user
"""

import dataclasses
import math
import typing
from typing import Any

from jaxssl.data.stores.json_types import in_words, short
from jaxssl.errors import InputError, fits
from jaxssl.runs.modules import file_of, find_class

DEFINED_IN = "defined_in"  # key of the file in which a class outside of jaxssl was defined
# Values that runs of older versions hold, by class and field, with their names of today
RENAMED: dict[str, dict[str, str]] = {
    "TransformerConfig.remat": {"none": "scores", "dots": "activations", "full": "inputs"}
}


def describe(value: Any) -> Any:
    """Converts a configuration to values that JSON can hold.

    Args:
      value: A dataclass, list, tuple, dictionary, string, number, boolean or None, nested at will.

    Returns:
      The same structure of dictionaries, lists and plain values. A dataclass becomes a dictionary with
      its `class`, the file it was `defined_in` unless it belongs to jaxssl, and its fields; a tuple becomes
      a list.

    Raises:
      InputError: The configuration contains a value of another type, or a number that is not finite.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        file = file_of(kind)
        origin = {} if file is None else {DEFINED_IN: file}
        return {"class": f"{kind.__module__}:{kind.__qualname__}", **origin, **fields}
    if isinstance(value, (list, tuple)):
        return [describe(part) for part in value]
    if isinstance(value, dict):
        return {str(name): describe(part) for name, part in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"a configuration cannot hold {value}; set a finite number")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InputError(f"a configuration cannot hold {value!r} of type {type(value).__name__}")


def rebuild(described: Any) -> Any:
    """Rebuilds the configuration that `describe` was given; lists become tuples.

    Only classes of jaxssl, and of modules that the user has named, are instantiated (`find_class`), so that
    reading a file never runs code which the user has not asked for.

    Args:
      described: What `describe` has returned, possibly after a round trip through JSON.

    Raises:
      InputError: A class is not known, a field is missing, unknown or of another type than the class
        declares, or the class refuses its fields.
    """
    if isinstance(described, list):
        return tuple(rebuild(part) for part in described)
    if isinstance(described, dict) and "class" in described:
        parts = {n: part for n, part in described.items() if n not in ("class", DEFINED_IN)}
        name, file = described["class"], described.get(DEFINED_IN)
        if not isinstance(name, str) or not isinstance(file, str | None):
            raise InputError(f"{short(name)} is no name of a class, such as module:Class")
        kind = find_class(name, file)
        return _make(kind, {name: rebuild(part) for name, part in parts.items()})
    if isinstance(described, dict):
        return {name: rebuild(part) for name, part in described.items()}
    return described


def _make(kind: type, fields: dict[str, Any]) -> Any:
    """Returns an instance of the dataclass `kind`, whose fields are checked first."""
    known = {entry.name: entry for entry in dataclasses.fields(kind) if entry.init}
    if unknown := fields.keys() - known.keys():
        raise InputError(
            f"{kind.__name__} has no field {sorted(unknown)[0]!r}: the run was written by "
            "another version of the code"
        )
    none = dataclasses.MISSING
    for name, entry in known.items():
        if name not in fields and entry.default is none and entry.default_factory is none:
            raise InputError(
                f"the field {name!r} of {kind.__name__} is missing in the configuration"
            )
    fields = {name: _renamed(kind, name, value) for name, value in fields.items()}
    for name, hint in _hints(kind).items():
        if name in fields and not fits(fields[name], hint, is_instance):
            raise InputError(
                f"{name}={short(fields[name])} of {kind.__name__} is not what is expected: "
                f"{in_words(hint)}"
            )
    try:
        return kind(**fields)
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{kind.__name__} cannot be made of its fields: {error}") from error


def _renamed(kind: type, name: str, value: Any) -> Any:
    """Returns the value of a field by its name of today."""
    renamed = RENAMED.get(f"{kind.__name__}.{name}", {})
    return renamed.get(value, value) if isinstance(value, str) else value


def _hints(kind: type) -> dict[str, Any]:
    """Returns the declared types of the fields; none where a name in them cannot be resolved."""
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except NameError:
        return {}


def is_instance(value: Any, hint: Any) -> bool:
    """Returns whether a rebuilt value is an instance of a declared class.

    Args:
      value: The value of a field. A dataclass of the user's may stand for one of jaxssl.
      hint: The declared class. What cannot be decided, such as the type of a function, is one.
    """
    if not isinstance(hint, type) or getattr(hint, "_is_protocol", False):
        return True
    own = dataclasses.is_dataclass(value) and file_of(type(value)) is not None
    return isinstance(value, hint) or own
