"""Connects the hosts of a run, and checks that all of them are about to run the same thing.

A host is one process of a run on several machines (or a test's process on one machine).
"""

import contextlib
import hashlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np
from jax.experimental import multihost_utils

import jaxssl
from jaxssl.errors import InputError
from jaxssl.runs.relay import relay_to
from jaxssl.runs.roll_call import Present, call_the_roll

# All variables of a line are set in every process of a cluster's job; JAX reads the addresses itself.
CLUSTERS = {
    "Slurm": ("SLURM_STEP_NODELIST", "SLURM_PROCID"),
    "Open MPI": ("OMPI_MCA_orte_hnp_uri", "OMPI_COMM_WORLD_RANK"),
    "Kubernetes": ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"),
    "Cloud TPU": ("TPU_WORKER_HOSTNAMES",),
}
SIZES = {
    "Slurm": "SLURM_NTASKS",
    "Open MPI": "OMPI_COMM_WORLD_SIZE",
}  # number of processes of the job
FLAGS = (
    "jax_enable_x64",
    "jax_threefry_partitionable",
    "jax_default_prng_impl",
    "jax_enable_custom_prng",
    "jax_random_seed_offset",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_use_shardy_partitioner",
)
BIND = "JAX_COORDINATOR_BIND_ADDRESS"  # variable of JAX: where host 0 listens, if not everywhere
LONGEST_WAIT = 10**7  # seconds, four months
WAIT_FOR_THE_LAST = 86_400  # seconds at the end, e.g. for host 0, which copies the run to a store
SLOW_HEARTBEAT = 100  # seconds, JAX's own default; a machine may be that busy
LONGEST = 1000  # bytes of an error that a host tells the others


@dataclass(frozen=True)
class Hosts:
    """The hosts of a run: found in the environment of a cluster, or given by these fields."""

    coordinator: str = ""
    """`ADDRESS:PORT` of host 0; empty takes it from Slurm, Open MPI, Kubernetes or Cloud TPU."""
    count: int = 0
    """Number of hosts; needed with `coordinator`, and 0 without."""
    index: int = -1
    """Number of this host, from 0 to `count` - 1; needed with `coordinator`, and -1 without."""
    wait: int = 300
    """Seconds that the hosts wait for each other at the start."""
    prepare_within: float = 86_400.0
    """Seconds that the other hosts wait for host 0 to prepare the rows of a recipe."""
    dead_after: float = 60.0
    """Seconds without a sign of life of a host after which the other hosts end."""
    stuck_after: float = 1800.0
    """Seconds without a finished step after which a host ends; 0 never ends it."""

    def __post_init__(self) -> None:
        if self.coordinator and (self.count < 1 or not 0 <= self.index < self.count):
            raise InputError(
                f"hosts.count={self.count} and hosts.index={self.index}: with hosts.coordinator every "
                "host needs hosts.count, the number of hosts N, and its own hosts.index from 0 to N - 1"
            )
        if not self.coordinator and (self.count or self.index >= 0):
            raise InputError(
                f"hosts.count={self.count} and hosts.index={self.index} need hosts.coordinator; set it "
                "to ADDRESS:PORT of host 0"
            )
        if self.coordinator:
            address, _, port = self.coordinator.rpartition(":")
            if not address or not port.isdecimal() or not 0 < int(port) < 2**16:
                raise InputError(
                    f"hosts.coordinator={self.coordinator!r} must be ADDRESS:PORT, with a port from 1 to "
                    f"{2**16 - 1}"
                )
        least = {"wait": 1, "prepare_within": 0, "dead_after": 1, "stuck_after": 0}
        for name, smallest in least.items():
            if not smallest <= getattr(self, name) <= LONGEST_WAIT:  # refuses NaN, too
                raise InputError(
                    f"hosts.{name}={getattr(self, name):g} must be from {smallest} to {LONGEST_WAIT} s"
                )

    def start(self) -> None:
        """Connects this process to the other hosts, or does nothing if there is only one.

        It must run before any other call of JAX. Waits up to `wait` seconds for the other hosts.

        Raises:
          InputError: The hosts differ, two have one index, or the port is taken.
          HostIsGone: A host has not come in time.
        """
        if jax.distributed.is_initialized() or not (self.coordinator or cluster()):
            return
        coordinator, count, index = self._address()
        call_the_roll(coordinator, Present(index, count, what_jax_computes_with()), self.wait)
        jax.distributed.initialize(
            relay_to(coordinator),
            count,
            index,
            coordinator_bind_address=os.environ.get(BIND, f"[::]:{coordinator.rpartition(':')[2]}"),
            initialization_timeout=self.wait,
            # `Watch` names the dead host. JAX's own heartbeat, which only aborts, gets a longer limit.
            heartbeat_timeout_seconds=int(max(4 * self.dead_after, SLOW_HEARTBEAT)),
            shutdown_timeout_seconds=WAIT_FOR_THE_LAST,
        )

    def _address(self) -> tuple[str, int, int]:
        """Returns the address of host 0, the number of hosts and that of this one."""
        if self.coordinator:
            return self.coordinator, self.count, self.index
        from jax._src.clusters import ClusterEnv  # not public, so only a cluster depends on it

        coordinator, count, index, _ = ClusterEnv.auto_detect_unset_distributed_params(
            None, None, None, None, None, self.wait
        )
        if coordinator is None or count is None or index is None:
            raise InputError(
                f"JAX has not found the other hosts of {cluster()}; set hosts.coordinator, hosts.count and "
                "hosts.index"
            )
        return coordinator, count, index


def what_jax_computes_with() -> dict[str, str]:
    """Returns versions and flags of JAX that must be equal on all hosts, by name.

    Hosts with other flags compile other programs, which wait for each other forever.
    """
    flags = {name.upper(): str(jax.config.values.get(name)) for name in FLAGS}
    return {
        "the version of jaxssl": jaxssl.__version__,
        "the version of jax": jax.__version__,
    } | flags


def print_once(text: str) -> None:
    """Prints `text` on host 0 only."""
    if jax.process_index() == 0:
        print(text, flush=True)


def cluster() -> str | None:
    """Returns the kind of cluster, a name in `CLUSTERS`, that this process runs on together with others.

    None is returned outside of a known cluster, and in a job with a single process.
    """
    for name, variables in CLUSTERS.items():
        if name == "Kubernetes" and importlib.util.find_spec("kubernetes") is None:
            continue  # JAX finds the other pods through this package; pods of TPUs do not need it
        if all(variable in os.environ for variable in variables):
            alone = os.environ.get(SIZES.get(name, ""), "") == "1"
            hosts = os.environ.get("TPU_WORKER_HOSTNAMES", "")
            alone |= name == "Cloud TPU" and "," not in hosts
            return None if alone else name
    return None


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Context manager at whose end all hosts meet: an InputError of one host is raised on all of them.

    Raises:
      InputError: The error of this host, or else that of the first host that has one, with its number.
    """
    own: InputError | None = None
    try:
        yield
    except InputError as error:
        own = error
    if jax.process_count() > 1:
        everyone = _texts_of_hosts(str(own or ""))
        if own is None and (failed := [host for host, text in enumerate(everyone) if text]):
            raise InputError(f"host {failed[0]}: {everyone[failed[0]]}")
    if own is not None:
        raise own


def _texts_of_hosts(own: str) -> list[str]:
    """Returns the texts that all hosts give, in their order."""
    content = np.zeros(LONGEST, np.uint8)
    encoded = own.encode()[:LONGEST]
    content[: len(encoded)] = np.frombuffer(encoded, np.uint8)
    everyone = np.asarray(multihost_utils.process_allgather(content))
    return [bytes(text).rstrip(b"\0").decode(errors="ignore") for text in everyone]


def check_hosts_agree(parts: dict[str, str]) -> None:
    """Checks that all hosts were started with the same texts.

    Args:
      parts: Texts that must be equal on all hosts, by the name that the error message gives them.

    Raises:
      InputError: A text differs between hosts; it is raised on every host.
    """
    if jax.process_count() == 1:
        return
    own = [
        np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8) for text in parts.values()
    ]
    everyone = np.asarray(multihost_utils.process_allgather(np.stack(own)))
    for number, name in enumerate(parts):
        same = (everyone[:, number] == everyone[0, number]).all(axis=1)
        if not same.all():
            others = ", ".join(str(host) for host in np.flatnonzero(~same))
            raise InputError(
                f"{name} of host {others} is not that of host 0; start all hosts with the same "
                "command, code and data"
            )
