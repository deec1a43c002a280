"""What `benchmarks/on_accelerator.py` computes of what its parts find, and a small run of all of it."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.on_accelerator import Benchmark, read_options
from benchmarks.on_accelerator_parts import attention, jobs, report
from benchmarks.on_accelerator_parts.cases import CASES, batch_for, make_run, random_rows, shape_of
from benchmarks.on_accelerator_parts.ours import compare
from benchmarks.on_accelerator_parts.record import NotHere, Record, read_record
from benchmarks.on_accelerator_parts.windows import Speed, speed_of, time_windows, untimed
from tests.data.tiny_corpus import ENVIRONMENT
from tests.quick_programs import xla_flags

ROOT = Path(__file__).parents[2]
DEVICE = {"kind": "NVIDIA H100 80GB HBM3", "count": 1, "platform": "gpu", "peak": 1e15}
OURS = {
    "device": DEVICE,
    "batch": 32,
    "units": 1000,
    "unit": "tokens",
    "flops": 2e12,
    "compile_seconds": 21.4,
    "attention": [["xla", "the window differs from layer to layer"]],
    "seconds": [0.005, 0.004, 0.008],
    "peak_bytes": 3 * 2**30,
    "repeats": True,
    "differs": [],
}
PEER = {"batch": 16, "units": 500, "seconds": [0.005], "compile_seconds": 30.0, "peak_bytes": 2**31}


def test_speed_of_windows():
    speed = speed_of([0.1, 0.4, 0.2], units=100, flops=1e12, peak=1e13)
    assert speed == Speed(rate=500, least=250, most=1000, share=0.5)
    assert speed_of([0.1], 100, 1e12, None).share is None


def test_windows_end_at_the_deadline():
    taken = []
    later, over = time.monotonic() + 100, time.monotonic() - 1
    found = time_windows(taken.append, windows=3, steps=2, deadline=later)
    assert len(found) == 3
    assert taken == [2, 2, 2]
    (only,) = time_windows(taken.append, windows=3, steps=2, deadline=over)
    assert untimed([only], 3) == ["2 of 3 windows"]
    assert untimed(found, 3) == []


def test_figures():
    figures = report.figures_of(OURS, PEER)
    assert figures["jaxssl"]["rate"] == 200_000  # 1000 tokens in the median 5 ms
    assert figures["jaxssl"]["share"] == pytest.approx(0.4)  # 2e12 in 5 ms of 1e15 a second
    assert figures["torch"]["rate"] == 100_000
    assert figures["torch"]["share"] == pytest.approx(0.2)  # half the tokens in the same time
    assert figures["ratio"] == 2
    assert figures["peak_gib"] == [3, 2]
    nothing = report.figures_of({"error": "x"}, {})
    assert (nothing["jaxssl"], nothing["torch"], nothing["ratio"]) == (None, None, None)


def test_row():
    found = {"ours": OURS, "peer": PEER, "figures": report.figures_of(OURS, PEER)}
    assert report.row("bert_base", found) == (
        "| bert_base, 32 | 200,000 (125,000, 250,000) | 40.0% | 3.0 | 21 | yes "
        "| 100,000 (100,000, 100,000) | 20.0% | 2.0 | 30 | 2.00 |"
    )
    empty = {"ours": {}, "peer": {}, "figures": report.figures_of({}, {})}
    assert report.row("x", empty) == "| x, - | - | - | - | - | - | - | - | - | - | - |"
    assert report.HEADER.count("|") == report.row("x", empty).count("|")


def test_table_of_attention():
    right = {"kernel": "splash", "right": True, "states": [0.01, 0.02], "gradient": [0.03, 0.02]}
    cases = {
        "causal": {**right, "gradient_of": "q"},
        "window": {**right, "right": False, "gradient_of": "q"},
        "dropout": {"not_fused": "no kernel"},
        "prefix": {"error": "XlaRuntimeError: INTERNAL"},
    }
    assert report.attention_lines({"cases": cases})[2:] == [
        "| causal | splash | 1.0e-02, 2.0e-02 | 3.0e-02, 2.0e-02 | yes |",
        "| window | splash | 1.0e-02, 2.0e-02 | 3.0e-02, 2.0e-02 | NO (q) |",
        "| dropout | no kernel | - | - | - |",
        "| prefix | XlaRuntimeError: INTERNAL | - | - | NO |",
        "",
    ]
    assert report.attention_lines({"error": "no device"}) == []


def test_a_kernel_that_fails_leaves_the_other_cases(tmp_path, monkeypatch):
    def check(config, length, *, with_prefix):
        if config.causal:
            raise RuntimeError("INTERNAL")
        return {"not_fused": f"{length} {with_prefix}"}

    monkeypatch.setattr(attention, "check", check)
    monkeypatch.setattr(attention, "describe_device", lambda tiny: DEVICE)
    record = Record(tmp_path / "record.json")
    attention.measure({"tiny": False, "deadline": time.monotonic() + 100}, record)
    assert list(record.found["cases"]) == list(attention.CASES)
    assert record.found["cases"]["causal"] == {"error": "RuntimeError: INTERNAL"}
    assert record.found["cases"]["documents"] == {"not_fused": "1000 False"}
    over = Record(tmp_path / "over.json")
    attention.measure({"tiny": False, "deadline": time.monotonic() - 1}, over)
    assert over.found["error"] == "stopped before 'documents': time is over"


def test_notes():
    peer = {**PEER, "too_large": [32], "error": "RuntimeError: no", "parameters": 1000}
    ours = {**OURS, "parameters": 1020, "differs": ["a/kernel"], "largest_difference": 2e-3}
    notes = report.notes_of("modernbert_base", ours, peer, report.figures_of(ours, peer))
    assert notes[:3] == [
        "modernbert_base, torch: RuntimeError: no",
        "modernbert_base, torch: 32 rows a device did not fit; 16 were taken",
        "modernbert_base: attention by xla (the window differs from layer to layer)",
    ]
    assert notes[3].startswith("modernbert_base: 1 parameters differ")
    assert "2.0e-03 at most (a/kernel)" in notes[3]
    assert notes[4] == "modernbert_base: 1,020 parameters against 1,000 in torch"
    assert notes[5] == "modernbert_base: 0.66 of the 304,000 tokens/s of its authors"  # 200 of 304
    assert len(notes) == 6
    hurried = {**OURS, "skipped": ["1 of 5 windows", "the same steps again"]}
    said = report.notes_of("x", hurried, PEER, report.figures_of(hurried, PEER))
    assert said[0] == "x, jaxssl: time was over before 1 of 5 windows, the same steps again"
    nearly = report.notes_of("x", {"parameters": 1009}, peer, report.figures_of({}, peer))
    assert not any("parameters" in note for note in nearly)


def test_batch_follows_the_memory():
    case = CASES["bert_base"]
    assert case.batch == 64
    assert batch_for(case, 85e9) == 64
    assert batch_for(case, 15.75 * 2**30) == 16  # a v5e; 12.7 in proportion
    assert batch_for(case, 150e9) == 128
    assert batch_for(case, 1e9) == 2  # two rows at least: contrastive losses need them


def test_clock_estimates_from_what_was_taken():
    now = [0.0]
    clock = jobs.Clock(200, now=lambda: now[0])
    assert clock.expected(["ours", "peer"]) == 95
    clock.took["ours"] = [10, 20]
    assert clock.expected(["ours", "ours", "peer"]) == 75
    now[0] = 150
    assert (clock.spent, clock.left) == (150, 50)
    assert clock.expected(["ours", "ours", "peer"]) == 50  # not more than what is left


@pytest.mark.parametrize(
    ("limit", "time_left", "tried"),
    [(32, True, [64, 32]), (8, True, [64, 32, 16]), (32, False, [64])],
)
def test_batches_that_do_not_fit_are_halved_twice(limit, time_left, tried):
    batches = []

    def run(job):
        batches.append(job["batch"] or 64)
        return {"batch": batches[-1], "out_of_memory": batches[-1] > limit}

    found = jobs.run_halving({"batch": None}, run, enough_time=lambda: time_left)
    assert batches == tried
    assert found["too_large"] == tried[:-1]


def test_errors_are_recorded_as_a_line(tmp_path):
    record = Record(tmp_path / "record.json")
    record.add(batch=64)
    record.add_error(RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmany lines"))
    found = read_record(tmp_path / "record.json")
    assert found["error"] == "RuntimeError: RESOURCE_EXHAUSTED: Out of memory"
    assert (found["batch"], found["out_of_memory"], found["not_here"]) == (64, True, False)
    record.add_error(NotHere("torch is not installed"))
    assert record.found["error"] == "torch is not installed"
    assert record.found["not_here"]
    assert read_record(tmp_path / "none.json") == {}


@pytest.mark.parametrize(
    ("ends", "error"),
    [
        ("sleep 60", "stopped after 0 s: time is over"),
        ("echo; echo it broke >&2; echo; exit 3", "ended with code 3: it broke"),
    ],
)
def test_a_part_that_does_not_finish_leaves_what_it_has_found(tmp_path, ends, error):
    python = tmp_path / "python"  # called with: -m MODULE JOB RECORD
    python.write_text(f"#!/bin/sh\necho '{{\"batch\": 4}}' > $4\n{ends}\n")
    python.chmod(0o755)
    found = jobs.run_part({"part": "ours", "name": "x"}, tmp_path, 0.3, str(python))
    assert (found["batch"], found["error"]) == (4, error)
    assert found["took"] < 30


def test_environment_of_a_part(monkeypatch):
    for name in ("XLA_FLAGS", *jobs.MEMORY_SHARE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/cache")
    found = jobs.environment(tiny=False)
    assert found["XLA_CLIENT_MEM_FRACTION"] == "0.93"
    assert not {"JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS"} & found.keys()
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")  # JAX refuses both names together
    found = jobs.environment(tiny=True)
    assert "XLA_CLIENT_MEM_FRACTION" not in found
    assert found["JAX_COMPILATION_CACHE_DIR"] == "/cache"
    assert found["XLA_FLAGS"] == jobs.QUICKLY_COMPILED


def test_parameters_are_compared_bit_by_bit():
    first = {"a": np.array([1.0, -0.0], np.float32), "b": np.ones(2, np.float32)}
    assert compare(first, dict(first)) == {"repeats": True, "differs": [], "largest_difference": 0}
    second = {"a": np.array([1.0, 0.0], np.float32), "b": np.array([1, 1.5], np.float32)}
    found = compare(first, second)
    assert found == {"repeats": False, "differs": ["a", "b"], "largest_difference": 0.5}


def outcome(states, **gradients):
    return attention.Outcome(
        np.array(states), {name: np.array(value) for name, value in gradients.items()}
    )


def test_fused_attention_is_right_within_twice_the_plain_error():
    exact = outcome([3.0, 4.0], k=[10.0], q=[1.0])
    plain = outcome([3.0, 4.1], k=[10.1], q=[1.01])
    found = attention.compare(outcome([3.0, 4.1], k=[10.1], q=[1.015]), plain, exact)
    assert found["right"]
    assert found["states"] == pytest.approx((0.02, 0.02))  # 0.1 of 5
    assert found["gradient_of"] == "q"
    assert found["gradient"] == pytest.approx((0.015, 0.01))
    assert not attention.compare(outcome([3.0, 4.1], k=[10.1], q=[1.03]), plain, exact)["right"]
    assert not attention.compare(outcome([3.0, 4.3], k=[10.1], q=[1.01]), plain, exact)["right"]
    assert not attention.compare(outcome([3.0, np.nan], k=[10.1], q=[1.01]), plain, exact)["right"]


@pytest.mark.slow
def test_outcomes_of_the_plain_formula():
    small = replace(
        attention.BASE, depth=1, width=32, heads=2, mlp=32, attention="xla", causal=True
    )
    plain, exact, other = (
        attention.outcome(config, 48, with_prefix=False)
        for config in (
            replace(small, compute_dtype="bfloat16"),
            small,
            replace(small, causal=False),
        )
    )
    found = attention.compare(plain, plain, exact)
    assert found["right"]
    assert 0 < found["states"][0] < 0.05  # bfloat16
    assert exact.states[3, 36:].max() == 0  # padding
    assert not attention.compare(other, plain, exact)["right"]


def test_documents_of_the_attention_rows():
    segments = attention.documents(100)
    assert segments.shape == (4, 100)
    assert [len(set(row)) for row in segments.tolist()] == [1, 2, 13, 4]
    assert (segments[3, 75:] == 0).all()


def test_rows_and_shapes_of_every_recipe():
    for name, case in CASES.items():
        config, spec = make_run(case, 4, tiny=True)
        (rows,) = random_rows(spec).values()
        assert rows.shape[0] == 4, name
        assert config.microbatches == 1
        shape = json.loads(json.dumps(shape_of(config, spec)))
        assert shape["rows"]["units"] == (64 if spec.unit == "tokens" else 1)
    full, spec = make_run(CASES["modernbert_base"], 4)
    assert (full.objective.encoder.compute_dtype, spec.length) == ("bfloat16", 1024)


def options(tmp_path, *more):
    return read_options(["--into", str(tmp_path), "--tiny", *more])


def test_wrong_options(tmp_path, capsys):
    for arguments, message in (
        (["--only", "bert_base,bert"], "--only bert: there are attention, bert_base"),
        (["--seconds", "0"], "--seconds 0.0 must be above 0"),
    ):
        with pytest.raises(SystemExit, match="2"):
            options(tmp_path, *arguments)
        assert message in capsys.readouterr().err


def test_all_parts_in_order_whatever_fails(tmp_path, capsys):
    done = []

    def run(job, folder, seconds, python):
        done.append((job["part"], job["name"], job["batch"]))
        if job["part"] == "attention":
            return {"device": DEVICE, "cases": {"causal": {"not_fused": "no kernel"}}}
        if job["name"] == "mae_vitb16":
            return {"error": "ValueError: broken"}
        return OURS if job["part"] == "ours" else PEER

    chosen = options(
        tmp_path, "--only", "attention,gpt2_small,mae_vitb16", "--peer-python", "python3"
    )
    Benchmark(chosen, run).go()
    assert done == [
        ("attention", "", None),
        ("ours", "gpt2_small", None),
        ("ours", "mae_vitb16", None),
        ("peer", "gpt2_small", 32),  # the rows that ours took
        ("peer", "mae_vitb16", 256),
    ]
    printed = capsys.readouterr().out
    assert "ours gpt2_small: 200,000 tokens/s a device, 40.0% of peak" in printed
    assert "ours mae_vitb16: no speed; ValueError: broken" in printed
    found = json.loads((tmp_path / "on_accelerator.json").read_text())
    assert found["recipes"]["gpt2_small"]["figures"]["ratio"] == 2
    shown = (tmp_path / "on_accelerator.md").read_text()
    assert "# On 1 x NVIDIA H100 80GB HBM3" in shown
    assert "| causal | no kernel | - | - | - |" in shown
    assert "- mae_vitb16, jaxssl: ValueError: broken" in shown
    assert "- networks and rows are tiny: the figures say nothing of speed" in shown


def test_parts_for_which_no_time_is_left_are_named(tmp_path):
    chosen = options(tmp_path, "--only", "bert_base,gpt2_small", "--seconds", "5")
    Benchmark(chosen, lambda *_: pytest.fail("a part was begun")).go()
    shown = (tmp_path / "on_accelerator.md").read_text()
    assert "- time was over before: ours bert_base, ours gpt2_small, peer bert_base" in shown


def test_without_an_accelerator_the_run_ends(tmp_path):
    chosen = options(tmp_path, "--only", "bert_base,gpt2_small")
    nothing = {"error": "JAX finds no accelerator", "not_here": True}
    with pytest.raises(NotHere, match="JAX finds no accelerator"):
        Benchmark(chosen, lambda *_: nothing).go()


@pytest.mark.slow
def test_a_tiny_run(tmp_path):
    command = [sys.executable, "-m", "benchmarks.on_accelerator", "--tiny", "--into", tmp_path]
    command += ["--seconds", "1500"]
    environment = {**ENVIRONMENT, "XLA_FLAGS": xla_flags(2)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "on_accelerator.json").read_text())
    assert list(found["recipes"]) == list(CASES)
    for name, recipe in found["recipes"].items():
        ours = recipe["ours"]
        assert "error" not in ours, (name, ours)
        assert ours["repeats"], name
        assert (ours["batch"], ours["device"]["count"]) == (4, 2)
        assert np.isfinite(ours["loss"])
        assert len(ours["seconds"]) == 3
        assert recipe["figures"]["jaxssl"]["rate"] > 0
        assert recipe["peer"]["error"] in ("torch is not installed", "timm is not installed") or (
            recipe["figures"]["ratio"] > 0
        )
    cases = found["attention"]["cases"]
    assert list(cases) == list(attention.CASES)
    assert all("no fused kernel for cpu" in case["not_fused"] for case in cases.values())
    assert (tmp_path / "on_accelerator.md").read_text() in done.stdout
