"""Hosts: fields that cannot be, clusters by their environment, and what must be equal on all hosts."""

import jax
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.runs import hosts
from jaxssl.runs.hosts import Hosts, check_hosts_agree, cluster, print_once


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"coordinator": "10.0.0.1:1234"}, "hosts.count=0 .* every host needs hosts.count"),
        ({"coordinator": "10.0.0.1", "count": 2, "index": 0}, "must be ADDRESS:PORT"),
        ({"coordinator": "10.0.0.1:1", "count": 2, "index": 2}, "index=2: .* from 0 to N - 1"),
        ({"count": 2}, "need hosts.coordinator"),
        ({"dead_after": 0.5}, "hosts.dead_after=0.5 .* at least 1 s"),
        ({"wait": 0}, "hosts.wait=0 must be at least 1 s"),
        ({"stuck_after": -1.0}, "hosts.stuck_after=-1 at least 0 s"),
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


@pytest.mark.parametrize(("fields", "is_started"), [({}, False), ({"count": 2, "index": 1}, True)])
def test_jax_is_started_for_several_hosts_only(environment, fields, is_started):
    """JAX's own heartbeat is slower than the watch, which names the dead host."""
    calls = []
    environment.setattr(jax.distributed, "is_initialized", lambda: False)
    environment.setattr(jax.distributed, "initialize", lambda *a, **kw: calls.append((a, kw)))
    coordinator = "10.0.0.1:1" if fields else ""
    Hosts(coordinator, **fields, wait=30, dead_after=20.0).start()
    limits = {"initialization_timeout": 30, "heartbeat_timeout_seconds": 41}
    assert calls == ([(("10.0.0.1:1", 2, 1), limits)] if is_started else [])


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
