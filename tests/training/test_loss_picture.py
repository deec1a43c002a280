"""The picture of losses: the last record of a step counts, damaged lines do not; chance has a line."""

import json
import math

import pytest

from jaxssl.data.images import ImageSpec
from jaxssl.models.recipes import bert, gpt2
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives import BYOL, CausalLM, MaskedLM, Rotation, SimCLR
from jaxssl.training.loss_picture import chance_loss, draw_losses, read_metrics, spark_line
from tests.tiny import tiny_spec

ENCODER = ResNetConfig(10, width=8)


def record(step, loss, kind="train"):
    return json.dumps({"kind": kind, "step": step, "loss": loss})


def test_damaged_lines_are_left_out(tmp_path):
    lines = [
        *(record(1, 5.0), record(2, 4.0), record(2, 3.0)),  # step 2 was made again
        *(record(3, "x"), record("4", 1.0), record(True, 1.0)),
        *("[1]", "null", "{}", '{"kind": "train", "step": 6, "lo', "[" * 100_000, "\udcff"),
        *(record(1, 6.0, "valid"), json.dumps({"step": 1, "loss": 1.0})),
    ]
    text = "\n".join(lines).encode("utf8", "surrogateescape")
    (tmp_path / "metrics.jsonl").write_bytes(text)
    assert [r["loss"] for r in read_metrics(tmp_path, "train")] == [5.0, 3.0]
    assert [r["loss"] for r in read_metrics(tmp_path, "valid")] == [6.0]
    with (tmp_path / "metrics.jsonl").open("a") as lines:
        lines.write("\n" + record(2, None, "valid"))
    assert math.isnan(read_metrics(tmp_path, "valid")[1]["loss"])  # the mean of nothing
    assert draw_losses(tmp_path, chance=5.5).stat().st_size > 1000


@pytest.mark.parametrize(
    ("objective", "spec", "chance"),
    [
        (SimCLR(ENCODER), ImageSpec(128, 8, 8, 3), math.log(255)),
        (Rotation(ENCODER), ImageSpec(128, 8, 8, 3), math.log(4)),
        (BYOL(ENCODER), ImageSpec(128, 8, 8, 3), None),
        (MaskedLM(bert(1, 16, 2)), tiny_spec(), math.log(tiny_spec().vocab_size)),
        (CausalLM(gpt2(1, 16, 2)), tiny_spec(), math.log(tiny_spec().vocab_size)),
    ],
)
def test_chance(objective, spec, chance):
    assert chance_loss(objective, spec) == chance


def test_a_line_of_blocks():
    assert spark_line([4.0, 3.0, 1.0]) == "4.00 █▅▁ 1.00"
    assert spark_line([math.nan]) == ""


def test_dollars_in_the_name_of_a_run_begin_no_formula(tmp_path):
    run = tmp_path / r"$\frac$"
    run.mkdir()
    (run / "metrics.jsonl").write_text(record(1, 5.0) + "\n", encoding="utf8")
    assert draw_losses(run).stat().st_size > 1000
