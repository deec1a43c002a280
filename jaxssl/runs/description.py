"""Converts configurations to JSON and back. A dataclass becomes its class and its fields:

{"class": "jaxssl.objectives.masked_lm:MaskedLM", "rate": 0.15, "encoder": {"class": …}}
{"class": "mine:Mine", "defined_in": "/home/me/mine.py", …}      a class defined by the user
"""

import dataclasses
from typing import Any

from jaxssl.errors import InputError
from jaxssl.runs.modules import file_of, find_class

DEFINED_IN = "defined_in"  # key of the file in which a class outside of jaxssl was defined


def describe(value: Any) -> Any:
    """Converts a configuration to values that JSON can hold.

    Args:
      value: A dataclass, list, tuple, dictionary, string, number, boolean or None, nested at will.

    Returns:
      The same structure of dictionaries, lists and plain values. A dataclass becomes a dictionary with
      its `class`, the file it was `defined_in` unless it belongs to jaxssl, and its fields; a tuple becomes
      a list.

    Raises:
      InputError: The configuration contains a value of another type.
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
      InputError: A class is not known, or does not have one of the fields.
    """
    if isinstance(described, list):
        return tuple(rebuild(part) for part in described)
    if isinstance(described, dict) and "class" in described:
        parts = {n: part for n, part in described.items() if n not in ("class", DEFINED_IN)}
        kind = find_class(described["class"], described.get(DEFINED_IN))
        fields = {name: rebuild(part) for name, part in parts.items()}
        known = {f.name for f in dataclasses.fields(kind)}
        if unknown := fields.keys() - known:
            raise InputError(
                f"{kind.__name__} has no field {sorted(unknown)[0]!r}: the run was written by "
                "another version of the code"
            )
        return kind(**fields)
    if isinstance(described, dict):
        return {name: rebuild(part) for name, part in described.items()}
    return described
