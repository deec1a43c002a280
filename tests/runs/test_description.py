"""Configurations as JSON: there and back, what is refused, and nothing foreign is imported."""

import importlib
import json
import random
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from jaxssl.errors import InputError, fits
from jaxssl.models.recipes import bert
from jaxssl.objectives import MaskedLM, SentenceOrder
from jaxssl.runs.description import describe, is_instance, rebuild
from jaxssl.training.config import Pretraining, load_config


def test_there_and_back():
    objective = MaskedLM(encoder=bert(2, 32, 2), second_task=SentenceOrder(), masking="words")
    assert rebuild(json.loads(json.dumps(describe(objective)))) == objective


def test_foreign_classes_are_refused():
    with pytest.raises(InputError, match="--code antigravity"):
        rebuild({"class": "antigravity:Thing"})
    with pytest.raises(InputError, match="--code os"):
        rebuild({"class": "os:system"})


def test_values_of_older_versions_have_their_names_of_today():
    written = describe(bert(2, 32, 2, remat="inputs"))
    assert rebuild({**written, "remat": "full"}).remat == "inputs"
    assert rebuild({**written, "remat": "none"}).remat == "scores"


def test_a_field_of_another_version_is_named():
    described = describe(SentenceOrder()) | {"colour": 3}
    with pytest.raises(InputError, match="no field 'colour'"):
        rebuild(described)


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(InputError, match="type object"):
        describe(object())


def test_a_number_that_json_does_not_have_is_refused():
    with pytest.raises(InputError, match="cannot hold nan; set a finite number"):
        describe({"dead_after": float("nan")})


@pytest.mark.parametrize("name", [5, None, ["a"], {"class": "x"}])
def test_a_class_is_named_by_a_text(name):
    with pytest.raises(InputError, match="is no name of a class"):
        rebuild({"class": name})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("encoder", None),
        ("encoder", {"class": "jaxssl.runs.checkpoint:Keep"}),
        ("rate", "x"),
        ("rate", None),
        ("rate", True),
        ("rate", {}),
        ("masking", 5),
        ("shares", "x"),
        ("shares", [1.0, 2.0]),
        ("span_limit", 2.5),
    ],
)
def test_a_field_of_another_type_is_named(field, value):
    described = describe(MaskedLM(encoder=bert(2, 32, 2))) | {field: value}
    if field == "encoder" and value:
        importlib.import_module("jaxssl.runs.checkpoint")
    with pytest.raises(InputError, match=f"^{field}=.* of MaskedLM is not what is expected"):
        rebuild(json.loads(json.dumps(described)))


def test_a_missing_field_is_named():
    described = describe(MaskedLM(encoder=bert(2, 32, 2)))
    del described["encoder"]
    with pytest.raises(InputError, match="the field 'encoder' of MaskedLM is missing"):
        rebuild(described)


def test_what_a_class_refuses_is_one_line():
    described = describe(bert(2, 32, 2)) | {"heads": 0}
    with pytest.raises(InputError, match="heads"):
        rebuild(described)


@dataclass(frozen=True)
class Mine:
    """A dataclass of the user."""


@pytest.mark.parametrize(
    ("value", "hint", "does_fit"),
    [
        (1, float, True),
        (1, int, True),
        (True, int, False),
        (1, bool, False),
        (1.5, int, False),
        (None, int | None, True),
        ((1, 2), tuple[int, ...], True),
        ((1, "x"), tuple[int, ...], False),
        ((), tuple[int, int], False),
        ((), tuple[int, ...], True),
        ({"a": 1}, dict[str, int], True),
        ({"a": "x"}, dict[str, int], False),
        ("x", Literal["x"], True),
        (1, Literal[True], False),
        (Mine(), SentenceOrder, True),
        (5, SentenceOrder, False),
        (5, Any, True),
    ],
)
def test_values_fit_their_declared_types(value, hint, does_fit):
    assert fits(value, hint, is_instance) is does_fit


def described_paths(value, path=()):
    """The paths of all values inside a description."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, part in items:
        yield (*path, name)
        if isinstance(part, (dict, list)):
            yield from described_paths(part, (*path, name))


def test_seeded_mutations_are_one_line():
    """A description with a field removed or replaced is refused in one line, or is right by chance."""
    config = load_config("configs/quickstart.py", Pretraining)
    original = json.dumps(describe(config))
    paths, chosen = list(described_paths(json.loads(original))), random.Random(0)
    strange = [None, -1, "x", [], {}, 10**9, True, 1e308, {"class": "jaxssl.sharding.mesh:Mesh"}]
    refused = 0
    for _ in range(400):
        mutated = json.loads(original)
        *outer, last = chosen.choice(paths)
        inner = mutated
        for name in outer:
            inner = inner[name]
        if chosen.random() < 0.3:
            del inner[last]
        else:
            inner[last] = chosen.choice(strange)
        try:
            rebuild(mutated)
        except InputError as error:
            refused += "\n" not in str(error)
    assert refused > 200
