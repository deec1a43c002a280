"""Configurations as plain values, and where two of them differ.

A description consists of dictionaries, lists, strings, numbers, booleans and None only, so it is
stored as JSON beside what was made with the configuration and compared when the work goes on.
"""

import dataclasses
from typing import Any


def described(value: Any) -> Any:
    """Returns a configuration as plain values, each dataclass with the name of its class.

    Args:
      value: A dataclass, or what its fields hold. `Prepare(length=128)` becomes
        `{"kind": "Prepare", "length": 128, …}`; tuples become lists; anything that JSON cannot hold
        becomes its string.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: described(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, (list, tuple)):
        return [described(part) for part in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def changes(old: Any, new: Any, path: str = "") -> list[str]:
    """Returns the differences of two descriptions, as lines such as `data.batch: 64 -> 128`.

    Args:
      old: The earlier description.
      new: The later description. A field that only one of the two has counts as None in the other.
      path: Name of the field that both are the value of; the names in the lines begin with it.
    """
    return [f"{field}: {before} -> {now}" for field, before, now in differing(old, new, path)]


def differing(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Returns the fields in which two descriptions differ, each with its earlier and its later value.

    Args:
      old: The earlier description.
      new: The later description. A field that only one of the two has counts as None in the other.
      path: Name of the field that both are the value of; the names of the fields begin with it.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        names = list(old) + [name for name in new if name not in old]
        return [
            entry
            for name in names
            for entry in differing(old.get(name), new.get(name), f"{path}.{name}" if path else name)
        ]
    return [] if old == new else [(path, old, new)]
