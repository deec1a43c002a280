"""Types, ranges and required fields of values from JSON; every message names file, field and value."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from jaxssl.data.stores.json_types import Limits, Matches, checked, in_words, short
from jaxssl.errors import InputError, check_at_least

Count = Annotated[int, Limits(0)]


@dataclass(frozen=True)
class Shard:
    file: Annotated[str, Matches(r"[a-z0-9-]+", "a plain name")]
    rows: Count
    share: float = 1.0


@dataclass(frozen=True)
class Manifest:
    splits: dict[str, tuple[Shard, ...]]
    kind: Literal["text", "images"] = "text"
    pad: int | None = None
    size: tuple[int, int] = (1, 1)
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        check_at_least(self, 0, "pad")


class Note(TypedDict):
    rows: Count
    name: NotRequired[str]


SHARD = {"file": "train-0", "rows": 3}


def test_dataclasses_are_made_of_objects_and_tuples_of_lists():
    content = {"splits": {"train": [SHARD, {**SHARD, "share": 1}]}, "pad": None, "size": [2, 3]}
    result = checked(content, Manifest, "m.json")
    assert result == Manifest({"train": (Shard("train-0", 3), Shard("train-0", 3))}, size=(2, 3))
    assert isinstance(result.splits["train"][1].share, float)


def test_a_typed_dict_keeps_what_it_does_not_declare():
    assert checked({"rows": 1, "more": [1]}, Note, "n") == {"rows": 1, "more": [1]}
    with pytest.raises(InputError, match=r"^n: name is 5, expected a text$"):
        checked({"rows": 1, "name": 5}, Note, "n")


def wrong(**changed):
    return {"splits": {"train": [{**SHARD, **changed}]}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "m.json: its content is null, expected an object of the fields of Manifest"),
        ([], "m.json: its content is [], expected an object of the fields of Manifest"),
        ({}, "m.json: the field 'splits' is missing, expected an object"),
        ({"splits": {"train": [{}]}}, "m.json: the field 'file' of splits.train[0] is missing, "
         "expected a text, a plain name"),
        (wrong(rows=-32), "m.json: splits.train[0].rows is -32, expected a whole number, at least 0"),
        (wrong(rows=None), "m.json: splits.train[0].rows is null, expected a whole number, at least 0"),
        (wrong(rows=True), "m.json: splits.train[0].rows is true, expected a whole number, at least 0"),
        (wrong(rows=2.0), "m.json: splits.train[0].rows is 2.0, expected a whole number, at least 0"),
        (wrong(share="1"), "m.json: splits.train[0].share is '1', expected a number"),
        (wrong(file="../x"), "m.json: splits.train[0].file is '../x', expected a text, a plain name"),
        (wrong(evil=1), "m.json: the field splits.train[0].evil is unknown; another version may have "
         "written it"),
        ({"splits": []}, "m.json: splits is [], expected an object"),
        ({"splits": {"train": {}}}, "m.json: splits.train is {}, expected a list"),
        ({"splits": {}, "kind": "audio"}, "m.json: kind is 'audio', expected 'text' or 'images'"),
        ({"splits": {}, "kind": ["text"]}, "m.json: kind is ['text'], expected 'text' or 'images'"),
        ({"splits": {}, "pad": "x"}, "m.json: pad is 'x', expected a whole number or null"),
        ({"splits": {}, "pad": -1}, "m.json: pad=-1 must be at least 0"),
        ({"splits": {}, "size": [1]}, "m.json: size is [1], expected a list of 2"),
    ],
)  # fmt: skip
def test_the_message_names_file_field_and_value(content, message):
    with pytest.raises(InputError) as refused:
        checked(content, Manifest, "m.json")
    assert str(refused.value) == message or str(refused.value).startswith(message + ", ")


def test_an_object_in_a_union_has_the_message_of_its_field():
    with pytest.raises(InputError, match=r"^a: rows is -1, "):
        checked({"file": "a", "rows": -1}, Shard | None, "a")
    assert checked(None, Shard | None, "a") is None


def test_limits_hold_for_numbers_and_lengths():
    assert checked(5, Annotated[int, Limits(1, 5)], "a") == 5
    assert checked(["x"], Annotated[list[str], Limits(1)], "a") == ["x"]
    for value, kind in [(6, Annotated[int, Limits(1, 5)]), ([], Annotated[list[str], Limits(1)])]:
        with pytest.raises(InputError, match=r"expected .*, at least 1"):
            checked(value, kind, "a")
    assert in_words(Annotated[int, Limits(1, 5)]) == "a whole number, at least 1 and at most 5"


def test_long_values_are_shortened():
    assert short("x" * 1000) == "'" + "x" * 46 + " … " + "x" * 9 + "'"
    assert short(list(range(1000))) == "a list of 1000 entries"
    assert [short(value) for value in (None, True, 1)] == ["null", "true", "1"]
