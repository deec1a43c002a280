"""Descriptions of configurations: plain values, and the fields in which two of them differ."""

import dataclasses
from pathlib import Path

from jaxssl.data.stores.descriptions import changes, described


@dataclasses.dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (1, 2)


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner | float = Inner()
    path: Path = Path("a/b")
    rate: float = 0.5
    limit: int | None = None


def test_a_dataclass_becomes_plain_values():
    assert described(Outer()) == {
        "kind": "Outer",
        "inner": {"kind": "Inner", "sizes": [1, 2]},
        "path": "a/b",
        "rate": 0.5,
        "limit": None,
    }


def test_a_class_is_no_configuration():
    assert described(Inner) == str(Inner)


def test_changes_are_named_by_their_fields():
    old = described(Outer())
    assert changes(old, described(Outer())) == []
    new = described(Outer(inner=Inner(sizes=(1, 3)), rate=0.25))
    assert changes(old, new) == ["inner.sizes: [1, 2] -> [1, 3]", "rate: 0.5 -> 0.25"]
    assert changes(old, new, "data")[1] == "data.rate: 0.5 -> 0.25"


def test_a_missing_field_counts_as_none():
    assert changes({"a": 1}, {"b": 2}) == ["a: 1 -> None", "b: None -> 2"]
    assert changes({"a": None}, {}) == []


def test_another_kind_of_value_is_one_change():
    old, new = described(Outer()), described(Outer(inner=0.1))
    assert changes(old, new) == ["inner: {'kind': 'Inner', 'sizes': [1, 2]} -> 0.1"]
