"""The trace of a step: one operation after another, loops written out, transfers beside them."""

import json

import pytest

from jaxssl.planning.program_text import read_program
from jaxssl.planning.schedule import COMPUTE, TRANSFERS, write_trace
from jaxssl.planning.source_lines import SourceLines
from jaxssl.training.chips import find_chip
from tests.planning.cycles_program import TEXT


def _events(path, row):
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return [e for e in events if e["ph"] == "X" and e["tid"] == row]


def test_operations_follow_one_another(tmp_path):
    path = tmp_path / "made" / "trace.json"
    assert write_trace(path, read_program(TEXT), SourceLines(TEXT), find_chip("v5e"))
    events = [e for e in _events(path, COMPUTE) if not e["name"].startswith("while")]
    assert [e["args"]["name"] for e in events] == ["layer", "product"] * 3 + ["copy.1", "update"]
    ends = [e["ts"] + e["dur"] for e in events]
    assert [e["ts"] for e in events] == pytest.approx([0.0, *ends[:-1]])
    assert ends[-1] == pytest.approx(3375 / 1.5e9 * 1e6)
    (loop,) = [e for e in _events(path, COMPUTE) if e["name"] == "while x 3"]
    assert (loop["ts"], loop["dur"]) == pytest.approx((0.0, 3300 / 1.5e9 * 1e6))


def test_a_transfer_lasts_from_its_start_to_its_end(tmp_path):
    path = tmp_path / "trace.json"
    write_trace(path, read_program(TEXT), SourceLines(TEXT), find_chip("v5e"))
    (event,) = _events(path, TRANSFERS)
    assert (event["name"], event["args"]["name"]) == ("all-reduce", "send")
    assert (event["ts"], event["dur"]) == pytest.approx((0.0, 3300 / 1.5e9 * 1e6))


def test_without_a_clock_nothing_is_written(tmp_path):
    path = tmp_path / "trace.json"
    assert not write_trace(path, read_program(TEXT), SourceLines(TEXT), find_chip("v6e"))
    assert not write_trace(path, read_program(TEXT), SourceLines(TEXT), None)
    assert not path.exists()
