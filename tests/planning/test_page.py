"""The page and the JSON of plans whose numbers are made by hand."""

import dataclasses
import json

from jaxssl.models.layers.attention_choice import Choice
from jaxssl.planning.collectives import Total
from jaxssl.planning.counts import Counts
from jaxssl.planning.cycles import Operation
from jaxssl.planning.estimate import ASSUMPTIONS, Estimate
from jaxssl.planning.forecast import Forecast
from jaxssl.planning.measure import Measured, Memory
from jaxssl.planning.page import as_json, as_text, rows_of_device
from jaxssl.planning.plan import Plan
from jaxssl.planning.targets import read_target

GIB = 2**30
MEASURED = Measured(
    memory=Memory(4 * GIB, 2 * GIB, 0, GIB // 2, GIB // 4, limit=15.75 * GIB),
    attention=[Choice("flash", "")],
    collectives=[
        Total(
            "all-gather",
            count=3,
            runs=36,
            sent=96 * 2**20,
            overlapped=2,
            sent_overlapped=64 * 2**20,
        ),
        Total(
            "all-reduce", count=1, runs=1, sent=32 * 2**20, overlapped=1, sent_overlapped=32 * 2**20
        ),
    ],
    traffic=1e9,
    estimate=Estimate(
        arithmetic=0.02,
        memory=0.01,
        collectives=0.005,
        exposed=0.001,
        step=0.021,
        utilisation=0.4,
        bound_by="arithmetic",
        units_per_second=65_536 / 0.021,
    ),
    forecast=Forecast(
        cycles=60e6,
        seconds=0.04,
        utilisation=0.21,
        parts={"attention": 36e6, "head": 24e6},
        dearest=(Operation("fusion.1", "fusion", "attention", "jaxssl/a.py:7", 3_000_000, 12),),
        kernels=2e6,
        uncovered={"custom-call.3": 12},
    ),
    compiler_options="xla_enable_async_all_gather=true",
    host_rows=16,
    seconds=12.0,
)
COUNTED = Plan(
    target=read_target("v5e:4x4", 2),
    mesh={"data": 2, "fsdp": 8, "tensor": 2},
    batch=128,
    microbatches=2,
    steps=1_000,
    rows="rows of 512 tokens",
    shape={"length": 512, "vocab_size": 1_000},
    unit="tokens",
    rows_from="assumed",
    counts=Counts(
        parameters=100_000_000,
        flops=6e13,
        executed=8e13,
        state=1_200_000_000,
        state_per_device=GIB,
        units=65_536,
    ),
    measured=None,
    not_compiled="no compiler today",
    document=128.0,
    skipped={"encoder": 0.375},
)
WHOLE = dataclasses.replace(COUNTED, measured=MEASURED, not_compiled="")


def test_a_plan_without_a_compiler():
    assert rows_of_device(COUNTED) == 128 // 2 // 16
    assert as_text(COUNTED, "tiny.py").splitlines() == [
        "tiny.py on v5e:4x4 x 2 slices: 32 devices, mesh data 2, fsdp 8, tensor 2",
        "  rows        rows of 512 tokens (assumed)",
        "  batch       128 rows in 2 microbatches, 65,536 tokens; 4 rows of a device at a time",
        "  parameters  100.0 M, 6e+13 FLOPs a step, 9.16 a parameter and token",
        "  checkpoint  1.20 GB",
        "  training    1,000 steps, 6.55e+07 tokens",
        "  memory      1.000 GiB of state a device, of 15.75",
        "  not compiled, so no temporaries, collectives or time: no compiler today",
    ]


def test_a_whole_plan():
    page = as_text(WHOLE, "tiny.py")
    assert "hosts       8, each reads 16 rows" in page
    assert "6.750 GiB a device of 15.75 (43%): arguments 4.000, temporaries 2.000" in page
    assert "fused (flash)" in page
    assert "38% of the blocks of encoder are skipped, in rows of documents of 128 tokens" in page
    unknown = as_text(dataclasses.replace(WHOLE, document=None), "tiny.py")
    assert "skipped, if no document ended within a row (--document TOKENS" in unknown
    assert "all-gather            3 in the program     36 runs       96.0 MiB sent" in page
    assert "75% of the bytes are sent while the device computes" in page
    assert "compiler    xla_enable_async_all_gather=true\n" in page
    assert "at best 21.00 ms a step, bound by arithmetic: arithmetic 20.00" in page
    assert "5.00 of which 1.00 are not hidden" in page
    assert all(assumption in page for assumption in ASSUMPTIONS)
    assert "in its host's memory" not in page
    away = dataclasses.replace(MEASURED, memory=dataclasses.replace(MEASURED.memory, host=GIB))
    page = as_text(dataclasses.replace(WHOLE, measured=away), "tiny.py")
    assert "host        1.000 GiB a device in its host's memory" in page


def test_a_cpu_has_no_estimate():
    choice = Choice("xla", "there is no fused kernel for cpu")
    bare = dataclasses.replace(MEASURED, estimate=None, collectives=[], attention=[choice])
    page = as_text(dataclasses.replace(WHOLE, measured=bare), "tiny.py")
    assert "XLA, with the scores in memory: there is no fused kernel for cpu" in page
    assert "    none\n" in page
    assert "no estimate" in page


def test_json_has_all_numbers():
    content = json.loads(json.dumps(as_json(COUNTED, "tiny.py")))
    assert content["devices"] == 32
    assert content["tokens"] == 65_536
    assert content["training_tokens"] == 65_536_000
    assert content["length"] == 512
    assert content["chip"]["name"] == "v5e"
    assert content["not_compiled"] == "no compiler today"
    assert "memory" not in content
    content = json.loads(json.dumps(as_json(WHOLE, "tiny.py")))
    assert content["not_compiled"] is None
    assert content["memory"]["total"] == 6.75 * GIB
    assert content["estimate"]["tokens_per_second"] == MEASURED.estimate.units_per_second
    assert content["days"] == 1_000 * 0.021 / 86_400
    assert content["collectives"][0]["kind"] == "all-gather"
    assert content["overlapped_share"] == 0.75


def test_the_forecast_has_parts_and_the_dearest_operations():
    lines = as_text(WHOLE, "tiny.py").splitlines()
    start = next(i for i, line in enumerate(lines) if "forecast" in line)
    assert [line.strip() for line in lines[start:]] == [
        "forecast    40.00 ms a step, 21% of peak: 60.0 M cycles by the compiler's own estimate of every "
        "operation",
        "attention                 36.00 M cycles   60%",
        "head                      24.00 M cycles   40%",
        "the operations that take longest",
        "36.00 M    12 runs  attention      jaxssl/a.py:7",
        "2.0 M cycles of these are Pallas kernels, by our own estimate",
        "without an estimate: custom-call.3",
    ]
    assert as_json(WHOLE, "tiny.py")["forecast"]["parts"] == {"attention": 36e6, "head": 24e6}
