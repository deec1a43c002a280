"""`metrics.jsonl` is JSON in every line, has each step once after a resume, and survives half lines."""

import json
import math

import pytest

from jaxssl.errors import InputError
from jaxssl.runs.metrics_file import MetricsFile, read_records
from jaxssl.training.loss_picture import draw_losses, read_metrics


def record(step, **values):
    return {"kind": "train", "step": step, "loss": 0.5, **values}


def written(path, start=0, steps=()):
    file = MetricsFile(path, start)
    for step in steps:
        file.write(record(step))
    file.close()
    return [r["step"] for r in read_records(path)]


def test_a_number_that_json_does_not_have_is_null(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl", 0)
    file.write(record(1, loss=math.nan, share=math.inf))
    file.close()
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["loss"] is None


def test_steps_that_are_taken_again_are_removed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert written(path, steps=(10, 20, 30)) == [10, 20, 30]
    assert written(path, start=20, steps=(30, 40)) == [10, 20, 30, 40]
    before = path.read_bytes()
    assert written(path, start=40) == [10, 20, 30, 40]
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("half", [b'{"kind": "train", "st', b"\0" * 500, b"\xff\xfe", b"[" * 9999])
def test_half_a_line_swallows_nothing(tmp_path, half):
    path = tmp_path / "metrics.jsonl"
    written(path, steps=(10,))
    path.write_bytes(path.read_bytes() + half)
    assert [r["step"] for r in read_records(path)] == [10]
    assert written(path, start=10, steps=(20,)) == [10, 20]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_what_earlier_versions_wrote_is_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "train", "step": 5, "loss": NaN, "x": -Infinity}\n')
    (found,) = read_records(path)
    assert found == {"kind": "train", "step": 5, "loss": None, "x": None}
    assert written(path, start=5, steps=(6,)) == [5, 6]


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b"5",
        b"",
        b"null",
        b'{"step": 1}',
        b'{"kind": "train"}',
        b'{"kind": "train", "step": 99}',
        b'{"kind": "train", "step": "a", "loss": 1}',
        b'{"kind": "train", "step": -1, "loss": 1}',
        b'{"kind": "train", "step": true, "loss": 1}',
        b'{"kind": 5, "step": 99, "loss": 1}',
        b'{"kind": "train", "step": 99, "loss": "x"}',
        b'{"kind": "train", "step": 99, "loss": 1e999}',
    ],
)
def test_other_lines_are_left_out_of_the_picture(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    written(path, steps=(10,))
    path.write_bytes(path.read_bytes() + line + b"\n")
    assert [r["step"] for r in read_metrics(tmp_path, "train")] == [10]


def test_a_picture_without_records(tmp_path):
    assert read_metrics(tmp_path, "train") == []
    assert draw_losses(tmp_path).stat().st_size > 1000


def test_a_folder_in_its_place_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(InputError, match="metrics.jsonl is no file"):
        MetricsFile(tmp_path / "metrics.jsonl", 0)
