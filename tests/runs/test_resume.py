"""What may change between two starts of a run: compared first, written last, as the documentation says."""

import dataclasses
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import pytest

from jaxssl.errors import InputError
from jaxssl.models.recipes import bert
from jaxssl.runs.resume import (
    MAY_CHANGE,
    OF_COMMAND,
    check_resume,
    identity,
    may_change,
    read_record,
    write_run,
)
from jaxssl.training.config import Pretraining

ROWS = "a" * 64


@dataclass(frozen=True)
class Data:
    """Rows that have another fingerprint with another path, batch or seed."""

    path: str = "rows"
    batch: int = 4

    def open(self, split, *, seed):
        is_same = (self.path, self.batch, seed) == ("rows", 4, 0)
        return FakeRows(ROWS if is_same else "b" * 64)


@dataclass(frozen=True)
class Config:
    """A configuration with the fields that are treated in ways of their own."""

    objective: Any = field(default_factory=lambda: bert(2, 32, 2))
    data: Data = Data()
    peak: float = 0.5
    seed: int = 0
    average: float | None = None
    hosts: int = 1
    restarts: int = 0
    change_batch: bool = False


class FakeRows:
    """Rows that are known by a fingerprint."""

    tokenizer = None

    def __init__(self, fingerprint: str = ROWS):
        self.fingerprint = fingerprint

    def save_spec(self, folder):
        (folder / "spec").write_text(self.fingerprint)


@pytest.fixture
def run(tmp_path):
    """A run that was begun with `Config()`."""
    assert check_resume(tmp_path / "run", Config(), FakeRows()) == []
    assert not (tmp_path / "run").exists()
    write_run(tmp_path / "run", Config(), FakeRows())
    assert (tmp_path / "run" / "spec").read_text() == ROWS
    return tmp_path / "run"


def test_what_may_change_is_told_and_written(run):
    new = Config(peak=0.25, hosts=2, restarts=3)
    assert check_resume(run, new, FakeRows()) == ["peak: 0.5 -> 0.25"]
    write_run(run, new, FakeRows())
    written = json.loads((run / "config.json").read_text())
    assert written["config"]["peak"] == 0.25
    assert not set(OF_COMMAND) & written["config"].keys()
    encoder = dataclasses.replace(Config().objective, remat="inputs", attention="xla")
    assert check_resume(run, dataclasses.replace(new, objective=encoder), FakeRows()) == [
        "objective.attention: auto -> xla",
        "objective.remat: auto -> inputs",
    ]


@pytest.mark.parametrize(
    ("changed", "rows", "message"),
    [
        ({"objective": bert(2, 64, 2)}, ROWS, "objective.width=64, was 32; set it back to go on"),
        ({"objective": Data()}, ROWS, "objective.class=tests"),
        ({"seed": 3}, "b" * 64, "seed=3, was 0; set it back"),
        ({"average": 0.9}, ROWS, "average=0.9, was None; set it back"),
        ({"data": Data(batch=8)}, "b" * 64, "data.batch=8, was 4; .* change_batch=True"),
        ({"data": Data("other")}, "b" * 64, "other rows than data.path=other holds"),
        ({"data": Data("other", 8), "change_batch": True}, "b" * 64, "other rows than data.path="),
        ({}, "b" * 64, "other rows than data.path=rows holds .*set data.path to the prepared set"),
    ],
)
def test_a_refusal_names_the_field_and_writes_nothing(run, changed, rows, message):
    before = (run / "config.json").read_bytes()
    with pytest.raises(InputError, match=message):
        check_resume(run, Config(**changed), FakeRows(rows))
    assert (run / "config.json").read_bytes() == before


def test_the_batch_changes_by_choice(run):
    new = Config(data=Data(batch=8), change_batch=True)
    assert check_resume(run, new, FakeRows("b" * 64)) == ["data.batch: 4 -> 8"]


def test_a_copy_of_the_rows_may_be_elsewhere(run):
    new = Config(data=Data("copy"))
    assert check_resume(run, new, FakeRows()) == ["data.path: rows -> copy"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"version": 1}', b"[" * 9999]
)
def test_a_damaged_config_offers_a_way_that_works(run, content):
    (run / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json.*move it away \(mv ") as told:
        check_resume(run, Config(), FakeRows())
    command = str(told.value).partition("move it away (")[2].partition(")")[0]
    _, source, target = shlex.split(command)
    Path(source).rename(target)
    assert check_resume(run, Config(), FakeRows()) == []
    write_run(run, Config(), FakeRows())
    assert read_record(run).data == ROWS


def test_a_class_that_is_gone_is_named(run):
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text.replace("transformer_config:", "transformer_gone:"))
    with pytest.raises(InputError, match="transformer_gone:TransformerConfig.* does not have"):
        check_resume(run, Config(), FakeRows())


def test_only_host_0_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    write_run(tmp_path / "run", Config(), FakeRows())
    assert not (tmp_path / "run").exists()


def test_hosts_may_differ_in_what_changes_nothing():
    assert identity(Config(hosts=2), "data") == identity(Config(restarts=3), "data")
    assert identity(Config(peak=1.0), "data") != identity(Config(), "data")
    assert identity(Config(), "data") != identity(Config(), "other data")


def test_every_field_of_a_run_has_a_rule():
    names = {entry.name for entry in dataclasses.fields(Pretraining)} - set(OF_COMMAND)
    assert names <= {pattern.partition(".")[0] for pattern in MAY_CHANGE}


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("objective.encoder.width", "no"),
        ("objective.encoder.remat", "yes"),
        ("objective.encoder.blocks.attention", "yes"),
        ("objective.encoder.attention_dropout", "no"),
        ("objective.momentum.steps", "yes"),
        ("objective.momentum_steps", "yes"),
        ("objective.momentum.start", "no"),
        ("optimizer.peak", "yes"),
        ("optimizer.class", "no"),
        ("mesh.data", "yes"),
        ("data.batch", "by choice"),
        ("data.cache", "yes"),
        ("data.prepare.seed", "yes"),
        ("seed", "no"),
    ],
)
def test_the_longest_pattern_that_fits_decides(name, may):
    assert may_change(name) == may


def test_the_documentation_has_the_same_table():
    text = Path("docs/resuming.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    documented = {}
    for names, answer in rows:
        for name in names.replace("`", "").split(","):
            documented[name.strip()] = answer.split(":")[0].strip()
    assert {name: may for name, may in documented.items() if name not in OF_COMMAND} == MAY_CHANGE
