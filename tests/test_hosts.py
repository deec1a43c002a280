"""A run on several hosts, each a process of this machine: elastic, stopped, killed and started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.training.checkpoint import digest, load_pretrained
from jaxssl.training.hosts import Hosts, cluster
from jaxssl.training.watch import PEER_IS_GONE
from tests.shrink import prepare_words

RECIPE = """
from jaxssl.data.loader import Rows
from jaxssl.models.recipes import bert
from jaxssl.objectives import MaskedLM
from jaxssl.training.config import Pretraining
from jaxssl.training.mesh import Mesh
from jaxssl.training.optimizer import AdamW
encoder = bert(depth=1, width=32, heads=2, max_length=32, dropout=0.1)
config = Pretraining(
    Rows({rows!r}, batch=8), MaskedLM(encoder), AdamW(peak=1e-3, warmup=0, schedule="constant"),
    mesh=Mesh(-1, 2), steps=12, report_every=1, evaluate_every=6, evaluate_batches=2, save_every=2,
)
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    path = folder / "recipe.py"
    path.write_text(RECIPE.format(rows=prepare_words(folder)), encoding="utf8")
    return str(path)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(recipe, run, hosts, devices, *flags, own=()):
    """The processes of a run; `own` are flags of single hosts."""
    port, processes = free_port(), []
    for host in range(hosts):
        command = [sys.executable, "train.py", "--config", recipe, "--run", str(run), *flags]
        if hosts > 1:
            command += ["--hosts.coordinator", f"127.0.0.1:{port}", "--hosts.count", str(hosts)]
            command += ["--hosts.index", str(host), *(own[host] if own else ())]
        environment = {
            **os.environ,
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            "JAX_PLATFORMS": "cpu",
        }
        processes.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    return processes


def finish(processes, code=0):
    """What every process has printed; all must end with the code."""
    ended = [(*process.communicate(timeout=300), process.returncode) for process in processes]
    for out, error, found in ended:
        assert found == code, f"exit code {found}\n{out}\n{error}"
    return [(out, error) for out, error, _ in ended]


def losses(run):
    lines = (Path(run) / "metrics.jsonl").read_text(encoding="utf8").splitlines()
    records = [json.loads(line) for line in lines]
    return {record["step"]: record["loss"] for record in records if record["kind"] == "train"}


@pytest.mark.slow
def test_other_layouts_go_on_with_the_same_batches(recipe, tmp_path):
    """4 steps on 2 hosts x 2 devices, 4 on 1 x 4, 4 on 1 x 2: the losses of 1 x 4 alone, to 1e-5."""
    finish(start(recipe, tmp_path / "whole", 1, 4))
    run = tmp_path / "elastic"
    told = finish(start(recipe, run, 2, 2, "--steps", "4"))
    assert "step       4 of 4" in told[0][0]
    assert "step" not in told[1][0]  # the second host is silent
    finish(start(recipe, run, 1, 4, "--steps", "8"))
    finish(start(recipe, run, 1, 2, "--steps", "12"))
    whole, elastic = losses(tmp_path / "whole"), losses(run)
    assert whole.keys() == elastic.keys() == set(range(1, 13))
    np.testing.assert_allclose([elastic[step] for step in whole], list(whole.values()), rtol=1e-5)


@pytest.mark.slow
def test_asked_to_stop_all_hosts_save_at_the_same_step(recipe, tmp_path):
    processes = start(recipe, tmp_path / "run", 2, 1, "--steps", "100000", "--mesh.fsdp", "1")
    wait_for_steps(tmp_path / "run", 3)
    processes[1].send_signal(signal.SIGTERM)
    (told, _), _ = finish(processes)
    step = load_pretrained(tmp_path / "run", which="latest").step
    assert f"SIGTERM: saved step {step};" in told


@pytest.mark.slow
def test_a_killed_host_ends_all_and_the_supervisors_go_on(recipe, tmp_path):
    """Each of two hosts is killed once; the parameters are those of an undisturbed run, bitwise."""
    flags = ("--steps", "300", "--hosts.dead-after", "3", "--restarts", "4", "--mesh.fsdp", "1")
    finish(start(recipe, tmp_path / "whole", 2, 1, *flags))
    run = tmp_path / "killed"
    processes = start(recipe, run, 2, 1, *flags)
    for victim in (1, 0):
        before = len(losses(run)) if (run / "metrics.jsonl").exists() else 0
        wait_for_steps(run, before + 20)
        child = int((run / "hosts" / str(victim)).read_text(encoding="utf8").split()[2])
        os.kill(child, signal.SIGKILL)
        time.sleep(1)
    told = finish(processes)
    assert "restart 1 of 4" in told[0][1] + told[1][1]
    assert digest(load_pretrained(run).model) == digest(load_pretrained(tmp_path / "whole").model)


def wait_for_steps(run, count):
    path, end = run / "metrics.jsonl", time.monotonic() + 200
    while not path.exists() or len(path.read_text(encoding="utf8").splitlines()) < count:
        assert time.monotonic() < end, f"no {count} steps in {run}"
        time.sleep(0.1)


@pytest.mark.slow
def test_hosts_that_run_different_things_are_told_which(recipe, tmp_path):
    own = ((), ("--optimizer.peak", "0.5"))
    for _, error in finish(start(recipe, tmp_path / "run", 2, 1, "--mesh.fsdp", "1", own=own), 2):
        assert "error: the configuration of host 1 is not that of host 0" in error


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"coordinator": "10.0.0.1:1234"}, "every host needs --hosts.count N"),
        ({"coordinator": "10.0.0.1", "count": 2, "index": 0}, "must be ADDRESS:PORT"),
        ({"coordinator": "10.0.0.1:1", "count": 2, "index": 2}, "from 0 to N - 1"),
        ({"count": 2}, "need --hosts.coordinator"),
        ({"dead_after": 0.0}, "at least 1 s"),
    ],
)
def test_hosts_that_cannot_be(fields, line):
    with pytest.raises(InputError, match=line):
        Hosts(**fields)


def test_a_cluster_is_known_by_its_environment(monkeypatch):
    for variable in ("SLURM_STEP_NODELIST", "SLURM_PROCID", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(variable, raising=False)
    assert cluster() is None
    monkeypatch.setenv("SLURM_STEP_NODELIST", "a[1-2]")
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert cluster() == "Slurm"
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert cluster() is None
    monkeypatch.delenv("SLURM_PROCID")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "host-0,host-1")
    assert cluster() == "Cloud TPU"
    assert PEER_IS_GONE == 75
