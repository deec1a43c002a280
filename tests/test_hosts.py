"""A run on several hosts, each a process of this machine: elastic, stopped, killed and started again."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxssl.exit_codes import ExitCode
from jaxssl.pretrained.load import load_pretrained
from jaxssl.runs.checkpoint import digest
from jaxssl.runs.checkpoint_hashes import LEFT_OUT
from tests.quick_programs import xla_flags
from tests.shrink import prepare_words

IS_THOROUGH = (
    "JAXSSL_THOROUGH" in os.environ
)  # more layouts; four hosts killed ten times, not two once
RECIPE = """
from jaxssl.data.rows import Rows
from jaxssl.models.recipes import bert
from jaxssl.objectives import MaskedLM
from jaxssl.training.config import Pretraining
from jaxssl.sharding.mesh import Mesh
from jaxssl.optimizers.recipes import AdamW
encoder = bert(depth=1, width=32, heads=8, max_length=32, dropout=0.1)
config = Pretraining(
    Rows({rows!r}, batch=8), MaskedLM(encoder), AdamW(peak=1e-3, warmup=0, schedule="constant"),
    mesh=Mesh(-1, 2), steps=12, report_every=1, evaluate_every=999, evaluate_batches=2,
    save_every=10,
)
"""
# train.py, which notes the hash of every row that a step is given, as the host's devices hold it.
TRAIN = """
import hashlib, jax, numpy as np, train
from jaxssl.training.config import Pretraining, read_config

make_step = train.make_step

def noting(config, *rest):
    step = make_step(config, *rest)
    notes = open(f"{config.run}/rows-{jax.process_index()}", "a")

    def noted(state, batch):
        for shard in batch["tokens"].addressable_shards:
            for row, content in enumerate(np.asarray(shard.data), shard.index[0].start or 0):
                print(int(state.step), row, hashlib.sha256(content).hexdigest(), file=notes)
        return step(state, batch)

    return noted

train.make_step = noting
train.run(read_config(Pretraining, ""))
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    path = folder / "recipe.py"
    rows = prepare_words(folder, words=99)  # with the special ones 104, which 8 devices can share
    path.write_text(RECIPE.format(rows=rows), encoding="utf8")
    return str(path)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(recipe, run, hosts, devices, *flags, own=(), script=("train.py",), variables=()):
    """The processes of a run; `own` are flags of single hosts, `variables` of their environments."""
    port, processes = free_port(), []
    for host in range(hosts):
        command = [sys.executable, *script, "--config", recipe, *flags]
        command += [] if "--run" in flags else ["--run", str(run)]
        if hosts > 1:
            command += ["--hosts.coordinator", f"127.0.0.1:{port}", "--hosts.count", str(hosts)]
            command += ["--hosts.index", str(host), *(own[host] if own else ())]
        environment = {
            **os.environ,
            "XLA_FLAGS": xla_flags(devices),
            "JAX_PLATFORMS": "cpu",
            **(variables[host] if variables else {}),
        }
        told = [Path(f"{run}-{host}.{name}") for name in ("out", "error")]
        with told[0].open("w") as out, told[1].open("w") as error:
            process = subprocess.Popen(
                command, env=environment, stdout=out, stderr=error, start_new_session=True
            )
        processes.append((process, *told))
    return processes


def finish(processes, code=0):
    """What every process has printed; all must end with the code."""
    told = []
    for process, *files in processes:
        found = process.wait(timeout=900 if IS_THOROUGH else 300)
        told.append(tuple(file.read_text(encoding="utf8") for file in files))
        assert found == code, "\n".join([f"exit code {found}", *told[-1]])
    return told


def losses(run):
    lines = (Path(run) / "metrics.jsonl").read_text(encoding="utf8").splitlines()
    records = [json.loads(line) for line in lines]
    return {record["step"]: record["loss"] for record in records if record["kind"] == "train"}


def rows_seen(run):
    """{(step, row): hashes}, over all hosts."""
    seen = {}
    for notes in Path(run).glob("rows-*"):
        for line in notes.read_text(encoding="utf8").splitlines():
            step, row, content = line.split()
            seen.setdefault((int(step), int(row)), set()).add(content)
    return seen


LAYOUTS = [  # hosts, devices of each, mesh
    (4, 2, "-1 2 1"),
    (2, 4, "1 1 8"),  # both hosts read all rows
    *([(2, 2, "-1 2 1"), (2, 4, "1 2 4"), (1, 8, "2 2 2")] if IS_THOROUGH else []),
    (1, 1, "1 1 1"),
]


@pytest.mark.slow
def test_other_layouts_go_on_with_the_same_batches(recipe, tmp_path):
    """Two steps on each layout, one run: losses of one device alone to 1e-5, the very same rows."""

    def run(name, layout, steps):
        hosts, devices, mesh = layout
        flags = ["--steps", str(steps)]
        for axis, size in zip(("data", "fsdp", "tensor"), mesh.split(), strict=True):
            flags += [f"--mesh.{axis}", size]
        script = ("-c", TRAIN)
        return finish(start(recipe, tmp_path / name, hosts, devices, *flags, script=script))

    run("whole", LAYOUTS[-1], 2 * len(LAYOUTS))
    for number, layout in enumerate(LAYOUTS, 1):
        told = run("elastic", layout, 2 * number)
        assert f"step {2 * number:>7} of {2 * number}" in told[0][0]
        assert all("step" not in out for out, _ in told[1:])  # the other hosts are silent
    whole, elastic = losses(tmp_path / "whole"), losses(tmp_path / "elastic")
    assert whole.keys() == elastic.keys() == set(range(1, 2 * len(LAYOUTS) + 1))
    np.testing.assert_allclose([elastic[step] for step in whole], list(whole.values()), rtol=1e-5)
    seen = rows_seen(tmp_path / "whole")
    assert len(seen) == 2 * len(LAYOUTS) * 8
    assert rows_seen(tmp_path / "elastic") == seen


@pytest.mark.slow
def test_asked_to_stop_all_hosts_save_at_the_same_step(recipe, tmp_path):
    processes = start(recipe, tmp_path / "run", 2, 1, "--steps", "100000", "--mesh.fsdp", "1")
    wait_for_steps(tmp_path / "run", 3)
    processes[1][0].send_signal(signal.SIGTERM)
    (told, _), _ = finish(processes, ExitCode.SAVED_NOT_FINISHED)
    step = load_pretrained(tmp_path / "run", which="latest").step
    assert f"SIGTERM: saved step {step};" in told


@pytest.mark.slow
def test_a_supervised_run_is_asked_through_its_group(recipe, tmp_path):
    """As Slurm asks, and Ctrl-C in a terminal: saved once, not restarted; then the same command goes on."""
    flags = ("--mesh.fsdp", "1", "--restarts", "9", "--steps")
    processes = start(recipe, tmp_path / "run", 1, 1, *flags, "100000")
    wait_for_steps(tmp_path / "run", 3)
    os.killpg(processes[0][0].pid, signal.SIGTERM)
    ((told, error),) = finish(processes, ExitCode.SAVED_NOT_FINISHED)
    step = load_pretrained(tmp_path / "run", which="latest").step
    assert f"SIGTERM: saved step {step};" in told
    assert error == "SIGTERM: the run ends when the state after this step is saved\n"
    ((told, _),) = finish(start(recipe, tmp_path / "run", 1, 1, *flags, str(step + 1)))
    assert f"going on after step {step:,}" in told


@pytest.mark.slow
def test_killed_hosts_end_all_and_the_supervisors_go_on(recipe, tmp_path):
    """Each host in turn, at random steps; the parameters are those of an undisturbed run, bitwise.

    The last one is stopped (SIGSTOP): the others name it and its process.
    """
    hosts, devices, kills = (4, 2, 11) if IS_THOROUGH else (2, 1, 2)
    limit, steps, random = 3, 100 + 20 * kills, np.random.default_rng(0)
    flags = ("--steps", str(steps), "--hosts.dead-after", str(limit), "--restarts", "99")
    flags += ("--mesh.fsdp", str(devices))
    finish(start(recipe, tmp_path / "whole", hosts, devices, *flags))
    run = tmp_path / "killed"
    processes = start(recipe, run, hosts, devices, *flags)
    for number in range(1, kills + 1):
        victim, is_last = number % hosts, number == kills
        wait_for_steps(run, steps_told(run) + random.integers(3, 15))
        children = [child_of(run, host) for host in range(hosts)]
        os.kill(children[victim], signal.SIGSTOP if is_last else signal.SIGKILL)
        began = time.monotonic()
        wait_until_gone(children[:victim] + children[victim + 1 :])
        assert time.monotonic() - began < limit + 10
    os.kill(children[victim], signal.SIGKILL)
    told = finish(processes)
    assert all("restart 1 of 99" in error for _, error in told)
    named = f"process {children[victim]}) has not been heard of for {limit} s"
    assert any(f"error: host {victim} (" in error and named in error for _, error in told)
    assert digest(load_pretrained(run).model) == digest(load_pretrained(tmp_path / "whole").model)


def steps_told(run):
    path = run / "metrics.jsonl"
    return len(path.read_text(encoding="utf8").splitlines()) if path.exists() else 0


def wait_for_steps(run, count):
    end = time.monotonic() + 200
    while steps_told(run) < count:
        assert time.monotonic() < end, f"no {count} steps in {run}"
        time.sleep(0.1)


def wait_until_gone(processes):
    end = time.monotonic() + 60
    while any(Path(f"/proc/{process}").exists() for process in processes):
        assert time.monotonic() < end, f"one of the processes {processes} does not leave"
        time.sleep(0.1)


def child_of(run, host):
    """The process of a host, by its sign of life."""
    return int((run / "hosts" / str(host)).read_text(encoding="utf8").split()[2])


@pytest.mark.slow
@pytest.mark.parametrize("host", [0, 1])
def test_a_flipped_bit_in_what_either_host_has_written_is_found(recipe, tmp_path, host):
    """Each hashes its own files while they are saved, and its share of all when they are resumed."""
    run = tmp_path / "run"
    finish(start(recipe, run, 2, 1, "--steps", "2"))
    step = run / "checkpoints" / "2"
    listed = json.loads((step / "sha256.json").read_text(encoding="utf8"))["files"]
    own = [name for name in listed if name.startswith(f"state/ocdbt.process_{host}/d/")]
    assert own
    assert set(listed) == {
        path.relative_to(step).as_posix()
        for path in step.rglob("*")
        if path.is_file() and path.name not in LEFT_OUT
    }
    content = bytearray((step / own[0]).read_bytes())
    content[len(content) // 2] ^= 1
    (step / own[0]).write_bytes(content)
    told = finish(start(recipe, run, 2, 1, "--steps", "3"), ExitCode.WRONG_INPUT)
    errors = [error.strip().splitlines()[-1] for _, error in told]
    assert all(error.startswith(f"error: checkpoint {step} is damaged: ") for error in errors)
    assert any(f"{own[0]} has another sha256" in error for error in errors)
    content[len(content) // 2] ^= 1
    (step / own[0]).write_bytes(content)
    ((told, _), _) = finish(start(recipe, run, 2, 1, "--steps", "3"))
    assert "going on after step 2" in told


@pytest.mark.slow
def test_hosts_that_run_different_things_are_told_which(recipe, tmp_path):
    own = ((), ("--optimizer.peak", "0.5"))
    for _, error in finish(start(recipe, tmp_path / "run", 2, 1, "--mesh.fsdp", "1", own=own), 2):
        assert "error: the configuration of host 1 is not that of host 0" in error


@pytest.mark.slow
def test_a_killed_host_0_is_named_as_well(recipe, tmp_path):
    """It holds JAX's service, without which JAX would end the other with a C++ stack."""
    flags = ("--steps", "100000", "--mesh.fsdp", "1", "--hosts.dead-after", "3")
    processes = start(recipe, tmp_path / "run", 2, 1, *flags)
    wait_for_steps(tmp_path / "run", 3)
    processes[0][0].kill()
    ((_, error),) = finish(processes[1:], ExitCode.HOST_IS_GONE)
    assert error.strip().splitlines()[-1].startswith("error: host 0 (")
    assert "Check failure" not in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "variables", "line"),
    [
        (((), ("--data.path", "nowhere")), ({}, {}), "host 1: nowhere"),
        (((), ()), ({}, {"JAX_ENABLE_X64": "1"}), "JAX_ENABLE_X64 is True on host 1"),
        (
            ((), ()),
            ({}, {"JAX_DEFAULT_PRNG_IMPL": "rbg"}),
            "JAX_DEFAULT_PRNG_IMPL is rbg on host 1",
        ),
    ],
)
def test_a_host_that_cannot_begin_is_named_on_host_0(recipe, tmp_path, own, variables, line):
    flags = ("--mesh.fsdp", "1")
    processes = start(recipe, tmp_path / "run", 2, 1, *flags, own=own, variables=variables)
    (_, error), (_, other) = finish(processes, ExitCode.WRONG_INPUT)
    assert f"error: {line}" in error
    assert "Traceback" not in error + other


@pytest.mark.slow
def test_hosts_on_an_object_store(bucket, recipe, tmp_path):
    """The first of two hosts copies what both have written; refused where they share no folder."""
    url = f"{bucket}/runs/x"
    finish(start(recipe, tmp_path / "disk", 2, 2))
    finish(start(recipe, tmp_path / "store", 2, 2, "--run", url))
    shutil.rmtree(tmp_path / "cache")
    here, there = load_pretrained(tmp_path / "disk"), load_pretrained(url)
    assert (there.step, digest(there.model)) == (here.step, digest(here.model))
    apart = [{"JAXSSL_CACHE": str(tmp_path / f"cache-{host}")} for host in range(2)]
    for _, error in finish(start(recipe, tmp_path / "no", 2, 2, "--run", url, variables=apart), 2):
        assert "host 1 has no part in" in error
