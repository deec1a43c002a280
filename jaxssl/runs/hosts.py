"""Several hosts: how they find each other, and that they are about to run the same thing."""

import hashlib
import importlib.util
import os
from dataclasses import dataclass

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxssl.errors import InputError

# Each of a line's variables is set for every process of a job of many; JAX reads the rest itself.
CLUSTERS = {
    "Slurm": ("SLURM_STEP_NODELIST", "SLURM_PROCID"),
    "Open MPI": ("OMPI_MCA_orte_hnp_uri", "OMPI_COMM_WORLD_RANK"),
    "Kubernetes": ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"),
    "Cloud TPU": ("TPU_WORKER_HOSTNAMES",),
}
SIZES = {"Slurm": "SLURM_NTASKS", "Open MPI": "OMPI_COMM_WORLD_SIZE"}  # 1: nobody to wait for


@dataclass(frozen=True)
class Hosts:
    """The processes of a run: found in a cluster's environment, or named by these flags."""

    coordinator: str = ""  # ADDRESS:PORT of host 0; empty: from Slurm, Open MPI, Kubernetes, TPUs
    count: int = 0  # with a coordinator: how many hosts
    index: int = -1  # and the number of this one, from 0
    wait: int = 300  # seconds that hosts wait for each other at the start
    prepare_within: float = 86_400.0  # seconds that they wait for host 0 to prepare a recipe's rows
    dead_after: float = 60.0  # seconds without a sign of life after which the others leave
    stuck_after: float = (
        1800.0  # seconds without a finished step after which a run leaves; 0: never
    )

    def __post_init__(self) -> None:
        if self.coordinator and (self.count < 1 or not 0 <= self.index < self.count):
            raise InputError(
                f"hosts.count={self.count} and hosts.index={self.index}: with a coordinator every "
                "host needs --hosts.count N, and its own --hosts.index from 0 to N - 1"
            )
        if not self.coordinator and (self.count or self.index >= 0):
            raise InputError("hosts.count and hosts.index need --hosts.coordinator ADDRESS:PORT")
        if self.coordinator and ":" not in self.coordinator:
            raise InputError(f"hosts.coordinator={self.coordinator!r} must be ADDRESS:PORT")
        if self.dead_after < 1 or self.stuck_after < 0 or self.wait < 1:
            raise InputError("hosts.dead_after and hosts.wait are at least 1 s, stuck_after 0 s")

    def start(self) -> None:
        """Joins the other hosts; does nothing on a single one. Before anything else of JAX."""
        if jax.distributed.is_initialized():
            return
        # Our own watch names who is dead; JAX's, which only aborts, comes after it.
        if self.coordinator or cluster() is not None:
            jax.distributed.initialize(
                self.coordinator or None,
                self.count or None,
                None if self.index < 0 else self.index,
                initialization_timeout=self.wait,
                heartbeat_timeout_seconds=int(2 * self.dead_after) + 1,
            )


def tell(text: str) -> None:
    """Prints on one host of all."""
    if jax.process_index() == 0:
        print(text, flush=True)


def cluster() -> str | None:
    """The kind of job of many processes that this one belongs to, by its environment."""
    for name, variables in CLUSTERS.items():
        if name == "Kubernetes" and importlib.util.find_spec("kubernetes") is None:
            continue  # with it JAX asks for the other pods' addresses; TPU pods know them without
        if all(variable in os.environ for variable in variables):
            alone = os.environ.get(SIZES.get(name, ""), "") == "1"
            hosts = os.environ.get("TPU_WORKER_HOSTNAMES", "")
            alone |= name == "Cloud TPU" and "," not in hosts
            return None if alone else name
    return None


def agree(parts: dict[str, str]) -> None:
    """Raises InputError on every host where one of the named texts differs between hosts."""
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
