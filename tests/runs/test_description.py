"""Configurations as JSON: there and back, what is refused, and nothing foreign is imported."""

import json

import pytest

from jaxssl.errors import InputError
from jaxssl.models.recipes import bert
from jaxssl.objectives import MaskedLM, SentenceOrder
from jaxssl.runs.description import describe, rebuild


def test_there_and_back():
    objective = MaskedLM(encoder=bert(2, 32, 2), second_task=SentenceOrder(), masking="words")
    assert rebuild(json.loads(json.dumps(describe(objective)))) == objective


def test_foreign_classes_are_refused():
    with pytest.raises(InputError, match="--code antigravity"):
        rebuild({"class": "antigravity:Thing"})
    with pytest.raises(InputError, match="--code os"):
        rebuild({"class": "os:system"})


def test_a_field_of_another_version_is_named():
    described = describe(SentenceOrder()) | {"colour": 3}
    with pytest.raises(InputError, match="no field 'colour'"):
        rebuild(described)


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(InputError, match="type object"):
        describe(object())
