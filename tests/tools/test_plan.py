"""`jaxssl plan`: what it prints, what it refuses, and its JSON."""

import importlib.util
import json
import re

import pytest

from jaxssl.planning import targets
from jaxssl.tools.main import main

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)
needs_cuda = pytest.mark.skipif(
    importlib.util.find_spec("jax_cuda12_plugin") is None, reason="JAX's CUDA plugin is missing"
)
RECIPE = """
from jaxssl.data.rows import Rows
from jaxssl.models.recipes import bert
from jaxssl.objectives import MaskedLM
from jaxssl.training.config import Pretraining

encoder = bert(depth=3, width=32, heads=4, max_length=64)
config = Pretraining(data=Rows("nowhere", batch=64), objective=MaskedLM(encoder=encoder))
"""
BROKEN = [  # options, and what the one line says
    ("--on v9:2x2", r"chip 'v9' is unknown; .*There are cpu, v4, v5e"),
    ("--on v5litepod:16x16", "did you mean v5e"),
    ("--on v5e", "names no devices; write it like v5e:16x16"),
    ("--on v5e:0x4", "names no devices"),
    ("--on v5e:16", r"has 1 dimensions, and v5e has 2; write it like v5e:4x4"),
    ("--on v5p:8x8", r"has 2 dimensions, and v5p has 3; write it like v5p:4x4x4"),
    ("--on v5e:3x4", "does not divide into hosts of 2x2 chips; use v5e:4x4"),
    (
        "--on v6e:32x16",
        "512 chips but the largest slice of v6e has 256; use a smaller shape and more slices",
    ),
    ("--on h100:8", "write nodes x GPUs of a node, e.g. h100:8x8"),
    ("--on cpu:2x4", "CPUs are only counted; write cpu:8"),
    ("--on cpu:8 --slices 2", "only TPUs come in slices, and cpu is not one"),
    (
        "--on cpu:8 --trace trace.json",
        "--trace: the clock rate of cpu:8 is not known, .* v4, v5e, v5p",
    ),
    ("--on v6e:2x2 --trace trace.json", "the clock rate of v6e:2x2 is not known"),
    ("--on v5e:4x4 --slices 0", "slices=0 must be at least 1"),
    (
        "--on v5e:2x2 --slices 2 --mesh.tensor 8 --objective.encoder.heads 8",
        "spreads axis tensor over 2 slices of v5e:2x2: .* multiple of 2, or mesh.tensor to 4",
    ),
    ("--on cpu:8 --mesh.data 3", "mesh 3x1x1 needs 3 devices and cpu:8 has 8; set one of"),
    ("--on cpu:8 --mesh.fsdp -1", "at most one of them is -1"),
    ("--on cpu:8 --mesh.tensor 0", "sizes are positive"),
    ("--on cpu:8 --mesh.fsdp 3", "mesh 2x3x1 needs 6 devices"),
    ("--on cpu:8 --data.batch 4", "batch 4 is smaller than the 8 devices .* set data.batch to 8"),
    ("--on v5e:16x16", "batch 64 is smaller than the 256 devices"),
    ("--on cpu:8 --data.batch 12", "batch 12 does not divide over .* set data.batch to 16"),
    ("--on cpu:8 --microbatches 3", "cannot be cut into 3 microbatches"),
    ("--on cpu:8 --microbatches 16", "have 4 rows, which do not divide .* set microbatches to 8"),
    ("--on cpu:8 --mesh.tensor 8", "encoder has 4 heads, .* set mesh.tensor to 4"),
    (
        "--on cpu:4 --mesh.tensor 4 --objective.encoder.kv-heads 2",
        "encoder has 2 kv_heads, .* set mesh.tensor to 2",
    ),
    ("--on cpu:4 --mesh.tensor 4 --vocab-size 1001", "vocab axis of size 1001 does not divide"),
    (
        "--on cpu:8 --mesh.data 1 --mesh.fsdp 8 --objective.encoder.width 36",
        "embed axis of size 36 does not divide over mesh axis fsdp of 8",
    ),
    ("--on cpu:8 --length 128", "rows of 128 tokens exceed max_length 64"),
    ("--on cpu:8 --length 4", "rows of 4 tokens are too short; set length to at least 8"),
    ("--on cpu:8 --vocab-size 5", "has no tokens beside its 5 special ones"),
    (
        "--on v5e:4x4 --objective.encoder.width 8192 --objective.encoder.depth 48",
        r"the state takes \d+\.\d GiB .* has 15.8; set mesh.fsdp to 16 and mesh.data to 1",
    ),
    ("--on cpu:8 --objective.encoder.heads 3", "heads=3 does not divide width=32; set heads to 2"),
    ("--on cpu:8 --mesh.fdsp 2", "there is no field --mesh.fdsp; the nearest is --mesh.fsdp"),
    ("--on cpu:8 --optimizer.host-moments", "a cpu has no pinned_host memory beside its own"),
    (
        "--on cpu:8 --objective.encoder.attention fused",
        "attention='fused': there is no fused kernel for cpu; set attention to 'auto', which takes XLA here",
    ),
    ("--on cpu:8 --optimizer.peak -1", "peak=-1.0,? must be above 0"),
    ("--on cpu:8 --average 2", "average=2.0 must lie between 0 and 1"),
    ("--on cpu:512 --data.batch 512", "this process has 8 CPU devices; start another with"),
]


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(RECIPE)
    return str(path)


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["plan", *arguments])
    printed = capsys.readouterr()
    assert end.value.code == 2
    assert printed.out == ""
    told = [line for line in printed.err.splitlines() if not re.search(r" … \d+ s$", line)]
    assert [line[:7] for line in told] == ["error: "]
    return told[0]


@pytest.mark.parametrize(("options", "reason"), BROKEN, ids=[options for options, _ in BROKEN])
def test_what_cannot_work_is_refused(recipe, capsys, options, reason):
    said = refused(capsys, recipe, *options.split())
    assert re.search(reason, said), said


def test_a_missing_recipe(tmp_path, recipe, capsys):
    said = refused(capsys, recipe.replace("tiny.py", "tini.py"), "--on", "cpu:8")
    assert "did you mean" in said


@pytest.mark.parametrize(
    ("on", "missing", "way"),
    [("v5e:2x4", "libtpu", "jax[tpu]"), ("h100:1x8", "jax_cuda12_plugin", "jax[cuda12]")],
)
def test_without_a_compiler_it_counts(recipe, tmp_path, capsys, monkeypatch, on, missing, way):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        targets.importlib.util, "find_spec", lambda name: None if name == missing else found(name)
    )
    page = str(tmp_path / "plan.json")
    main(["plan", recipe, "--on", on, "--length", "64", "--mesh.fsdp", "2", "--json", page])
    printed = capsys.readouterr().out
    assert f"on {on}: 8 devices, mesh data 4, fsdp 2, tensor 1" in printed
    assert "not compiled" in printed
    assert f"pip install '{way}'" in printed
    with open(page) as file:
        content = json.load(file)
    assert content["flops"] > 0
    assert content["tokens"] == 64 * 64
    assert content["state"] / 2 < content["state_per_device"] < content["state"]
    assert way in content["not_compiled"]
    assert "memory" not in content


def test_search_needs_a_compiler(recipe, capsys, monkeypatch):
    monkeypatch.setattr(targets.importlib.util, "find_spec", lambda name: None)
    assert "is found by compiling, which failed" in refused(
        capsys, recipe, "--on", "v5e:2x4", "--search"
    )


def test_a_json_that_cannot_be_written(recipe, tmp_path, capsys):
    (tmp_path / "file").touch()
    said = refused(capsys, recipe, "--on", "cpu:8", "--json", str(tmp_path))
    assert "is a folder; name a file in it" in said
    said = refused(capsys, recipe, "--on", "cpu:8", "--json", str(tmp_path / "file" / "p.json"))
    assert "--json" in said


@pytest.mark.slow
def test_a_page_and_its_json(recipe, tmp_path, capsys):
    page = str(tmp_path / "deep" / "plan.json")
    options = ["--length", "16", "--vocab-size", "64", "--objective.encoder.depth", "1"]
    main(["plan", recipe, "--on", "cpu:2", *options, "--data.batch", "4", "--json", page])
    printed = capsys.readouterr().out
    assert "mesh data 2, fsdp 1, tensor 1" in printed
    assert "no estimate" in printed
    assert "all-reduce" in printed
    with open(page) as file:
        content = json.load(file)
    memory = content["memory"]
    parts = ("arguments", "temporaries", "output", "program")
    assert memory["total"] == sum(memory[part] for part in parts)
    assert {total["kind"] for total in content["collectives"]} >= {"all-reduce"}
    assert content["rows_per_device"] == 2
    assert content["rows_from"] == "from --length and --vocab-size"


@needs_libtpu
@pytest.mark.slow
def test_a_tpu_that_is_not_here(recipe, tmp_path, capsys):
    page = str(tmp_path / "plan.json")
    options = [
        "--length",
        "128",
        "--objective.encoder.max-length",
        "128",
        "--optimizer.host-moments",
    ]
    options += ["--objective.encoder.dropout", "0"]
    options += ["--mesh.fsdp", "2", "--mesh.tensor", "2"]
    main(["plan", recipe, "--on", "v5e:2x2", *options, "--json", page])
    assert "of peak" in capsys.readouterr().out
    with open(page) as file:
        content = json.load(file)
    assert content["chip"]["name"] == "v5e"
    assert 0 < content["estimate"]["step"] < 1
    assert 0 < content["estimate"]["utilisation"] < 1
    assert {total["kind"] for total in content["collectives"]} >= {"all-gather"}
    assert content["attention"] == [{"kernel": "flash", "reason": ""}]
    matrices = 2 * 4 * content["parameters"] / 4  # two moments, cut over four devices
    assert content["memory"]["host"] == pytest.approx(matrices, rel=0.1)
    big = ["--data.batch", "1048576", "--objective.encoder.dropout", "0"]
    said = refused(capsys, recipe, "--on", "v5e:2x2", *big)
    assert "a step needs" in said
    assert "v5e:2x2 has 15.75; set microbatches to 2" in said


@needs_cuda
@pytest.mark.slow
def test_gpus_that_are_not_here(recipe, tmp_path, capsys):
    main(["plan", recipe, "--on", "h100:2x4", "--mesh.fsdp", "4"])
    assert "8 devices, mesh data 2, fsdp 4" in capsys.readouterr().out
