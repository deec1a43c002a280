"""Hosts: fields that cannot be, clusters by their environment, and what must be equal on all hosts."""

import jax
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.runs import hosts
from jaxssl.runs.hosts import Hosts, check_hosts_agree, cluster, print_once, together


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"coordinator": "10.0.0.1:1234"}, "hosts.count=0 .* every host needs hosts.count"),
        ({"coordinator": "10.0.0.1", "count": 2, "index": 0}, "must be ADDRESS:PORT"),
        ({"coordinator": "10.0.0.1:x", "count": 2, "index": 0}, "must be ADDRESS:PORT"),
        ({"coordinator": "10.0.0.1:65536", "count": 2, "index": 0}, "a port from 1 to 65535"),
        ({"coordinator": ":80", "count": 2, "index": 0}, "must be ADDRESS:PORT"),
        ({"coordinator": "10.0.0.1:1", "count": 2, "index": 2}, "index=2: .* from 0 to N - 1"),
        ({"count": 2}, "need hosts.coordinator"),
        ({"dead_after": 0.5}, "hosts.dead_after=0.5 must be from 1 to 10000000 s"),
        ({"dead_after": float("inf")}, "hosts.dead_after=inf must be"),
        ({"stuck_after": float("nan")}, "hosts.stuck_after=nan must be"),
        ({"wait": 0}, "hosts.wait=0 must be from 1"),
        ({"wait": 10**30}, r"hosts.wait=1e\+30 must be"),
        ({"prepare_within": -1.0}, "hosts.prepare_within=-1 must be from 0"),
        ({"stuck_after": -1.0}, "hosts.stuck_after=-1 must be from 0"),
    ],
)
def test_hosts_that_cannot_be(fields, line):
    with pytest.raises(InputError, match=line):
        Hosts(**fields)


@pytest.fixture
def environment(monkeypatch):
    """No variable of a cluster is set."""
    for variables in hosts.CLUSTERS.values():
        for variable in variables:
            monkeypatch.delenv(variable, raising=False)
    return monkeypatch


def test_a_cluster_is_known_by_its_environment(environment):
    assert cluster() is None
    environment.setenv("SLURM_STEP_NODELIST", "a[1-2]")
    assert cluster() is None  # a shell on a node, and no process of a job
    environment.setenv("SLURM_PROCID", "1")
    assert cluster() == "Slurm"
    environment.setenv("SLURM_NTASKS", "1")
    assert cluster() is None
    environment.delenv("SLURM_PROCID")
    environment.setenv("TPU_WORKER_HOSTNAMES", "host-0,host-1")
    assert cluster() == "Cloud TPU"
    environment.setenv("TPU_WORKER_HOSTNAMES", "host-0")
    assert cluster() is None


def test_kubernetes_needs_its_package(environment):
    """A pod without the package `kubernetes` finds the other pods through the TPU's variables alone."""
    for variable in hosts.CLUSTERS["Kubernetes"]:
        environment.setenv(variable, "1")
    for found, kind in ((object(), "Kubernetes"), (None, None)):
        environment.setattr(hosts.importlib.util, "find_spec", lambda name, found=found: found)
        assert cluster() == kind


@pytest.fixture
def started(environment):
    """What the roll call and JAX are called with."""
    calls = []
    environment.setattr(jax.distributed, "is_initialized", lambda: False)
    environment.setattr(jax.distributed, "initialize", lambda *a, **kw: calls.append((*a, kw)))
    environment.setattr(hosts, "call_the_roll", lambda *a: calls.append(a))
    environment.setattr(hosts, "relay_to", lambda address: f"relay to {address}")
    return calls


def test_a_host_alone_starts_nothing(started):
    Hosts().start()
    assert started == []


def test_jax_is_started_after_the_roll_call(started):
    """JAX's own heartbeat is slower than the watch, which names the dead host."""
    Hosts("10.0.0.1:1", 2, 1, wait=30, dead_after=50.0).start()
    (address, present, wait), (*where, limits) = started
    assert (address, present.index, present.count, wait) == ("10.0.0.1:1", 1, 2, 30)
    assert present.facts["JAX_ENABLE_X64"] == str(jax.config.jax_enable_x64)
    assert where == ["relay to 10.0.0.1:1", 2, 1]
    assert limits == {
        "coordinator_bind_address": "[::]:1",
        "initialization_timeout": 30,
        "heartbeat_timeout_seconds": 200,
        "shutdown_timeout_seconds": 86_400,
    }


def test_a_cluster_gives_the_address(started, environment):
    """The variables that Slurm sets for the second of two tasks on one node."""
    variables = {"JOB_ID": 7, "STEP_NODELIST": "node1", "NTASKS": 2, "PROCID": 1, "LOCALID": 1}
    for name, value in (variables | {"STEP_NUM_TASKS": 2}).items():
        environment.setenv(f"SLURM_{name}", str(value))
    Hosts().start()
    address, present, _ = started[0]
    assert address.startswith("node1:")
    assert (present.index, present.count) == (1, 2)


def test_flags_that_change_the_program_are_compared():
    before = hosts.what_jax_computes_with()
    assert before["the version of jax"] == jax.__version__
    assert all(before[name.upper()] == str(jax.config.values[name]) for name in hosts.FLAGS)


def gather_from(monkeypatch, *others):
    """Three simulated hosts: this one, and two that give other texts."""

    def gather(own):
        texts = [np.frombuffer(text.encode().ljust(len(own), b"\0"), np.uint8) for text in others]
        return np.stack([own, *texts])

    monkeypatch.setattr(jax, "process_count", lambda: len(others) + 1)
    monkeypatch.setattr(hosts.multihost_utils, "process_allgather", gather)


def test_the_error_of_one_host_is_that_of_all(monkeypatch):
    with pytest.raises(InputError, match="^alone$"), together():
        raise InputError("alone")
    gather_from(monkeypatch, "", "")
    with together():
        pass
    with pytest.raises(InputError, match="^mine$"), together():
        raise InputError("mine")
    gather_from(monkeypatch, "", "rows/x does not exist – " + "x" * 900)
    with pytest.raises(InputError, match="^host 2: rows/x does not exist – x*$"), together():
        pass
    with pytest.raises(InputError, match="^mine$"), together():
        raise InputError("mine")


def test_a_host_that_differs_is_named(monkeypatch):
    """Three simulated hosts, of which the last one has another configuration."""
    check_hosts_agree({"the data": "a"})  # a single host agrees with itself
    texts = {"the data": "a", "the configuration": "b"}
    monkeypatch.setattr(jax, "process_count", lambda: 3)

    def gather(own):
        other = own.copy()
        other[1, 0] ^= 1
        return np.stack([own, own, other])

    monkeypatch.setattr(hosts.multihost_utils, "process_allgather", gather)
    with pytest.raises(InputError, match="the configuration of host 2 is not that of host 0"):
        check_hosts_agree(texts)
    monkeypatch.setattr(hosts.multihost_utils, "process_allgather", lambda own: np.stack([own] * 3))
    check_hosts_agree(texts)


def test_host_0_alone_prints(monkeypatch, capsys):
    print_once("first")
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    print_once("second")
    assert capsys.readouterr().out == "first\n"
