"""Writing the shards of a set: finished ones are taken over, and the set is complete at the end."""

from dataclasses import dataclass

import pytest

from jaxssl.data.preparing import writing as writing_module
from jaxssl.data.preparing.units import Unit
from jaxssl.data.preparing.writing import finish_set, write_shards
from jaxssl.errors import InputError


class Report:
    def __init__(self):
        self.added = []

    def add(self, **counts):
        self.added.append(counts)


UNITS = [Unit("train", 0, ["a"]), Unit("valid", 0, ["b"]), Unit("train", 1, ["c"])]


@pytest.mark.parametrize("finished", [{}, {("train", 0): "old"}, {("valid", 0): "old"}])
def test_only_what_is_missing_is_written(finished):
    report, written = Report(), []

    def write(units):
        for unit in reversed(list(units)):  # workers finish in any order
            written.append((unit.split, unit.number))
            yield unit, unit.documents[0]

    found = write_shards(
        UNITS,
        report,
        find=lambda unit: finished.get((unit.split, unit.number)),
        write=write,
        count=lambda shard: {"documents": len(shard)},
    )
    expected = {("train", 0): "a", ("valid", 0): "b", ("train", 1): "c"} | finished
    assert found == {
        "train": (expected["train", 0], expected["train", 1]),
        "valid": (expected["valid", 0],),
    }
    assert {*written, *finished} == set(expected)
    assert len(written) == 3 - len(finished)
    assert sorted(added["reused"] for added in report.added) == sorted(
        [True] * len(finished) + [False] * len(written)
    )
    assert sum(added["documents"] for added in report.added) == sum(map(len, expected.values()))


@dataclass(frozen=True)
class Fake:
    rows: dict
    splits: dict

    def total(self, split, count):
        assert count == "rows"
        return self.rows[split]


def test_a_set_is_finished_in_one_step_after_the_other(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(writing_module, "move_units", lambda *_: calls.append("moved"))
    monkeypatch.setattr(writing_module, "write_manifest", lambda *_: calls.append("manifest"))
    shards = {"train": ("a",), "valid": ("b",)}
    manifest = Fake({"train": 1, "valid": 2}, shards)
    assert finish_set(manifest, shards, tmp_path, needs="document with a token") is manifest
    assert calls == ["moved", "manifest"]
    empty = Fake({"train": 1, "valid": 0}, shards)
    with pytest.raises(InputError, match="the valid split has no document with a token; remove"):
        finish_set(empty, shards, tmp_path, needs="document with a token")
    assert calls == ["moved", "manifest"]  # nothing was touched
