"""The optimizer's moments wait in the host's memory: a device holds them only while it updates.

Every device keeps its part in pinned memory of its own host; the compiler moves it there and back, and
hides what it can behind other work (Ren et al. 2021, ZeRO-Offload, which updates on the host instead).
"""

from typing import Any

import jax
import optax
from jax.sharding import AbstractMesh

from jaxssl.errors import InputError

Tree = Any
HOST = "pinned_host"
PLATFORMS = ("tpu", "gpu")  # whose compilers move arrays between the two memories


class OnHost(optax.GradientTransformation):
    """An optimizer as any other, whose state the step keeps in the host's memory."""


def check_host_memory(mesh: Any) -> None:
    """Raises InputError where the devices of a mesh have no pinned memory of a host beside their own."""
    if isinstance(mesh, AbstractMesh):  # counted for, not run on
        return
    platform = mesh.devices.flat[0].platform
    if platform not in PLATFORMS:
        raise InputError(
            f"optimizer.host_moments: a {platform} has no {HOST} memory beside its own, which "
            f"{' and '.join(PLATFORMS)} have; leave it out"
        )


def on_host(shapes: Tree, shardings: Tree) -> Tree:
    """The shardings with all matrices in the host's memory; vectors and counters are not worth the way."""

    def place(leaf: Any, sharding: Any) -> Any:
        return sharding.with_memory_kind(HOST) if leaf.ndim > 1 else sharding

    return jax.tree.map(place, shapes, shardings)


def to_device(state: Tree, shardings: Tree) -> Tree:
    """Inside `jit`: the state in the memory of the devices. `shardings` say where it lies."""

    def move(leaf: Any, sharding: Any) -> Any:
        if not is_on_host(sharding):
            return leaf
        return jax.device_put(leaf, sharding.with_memory_kind("device"))

    return jax.tree.map(move, state, shardings)


def to_host(state: Tree, shardings: Tree) -> Tree:
    """Inside `jit`: what the host keeps is moved there."""

    def move(leaf: Any, sharding: Any) -> Any:
        return jax.device_put(leaf, sharding) if is_on_host(sharding) else leaf

    return jax.tree.map(move, state, shardings)


def is_on_host(sharding: Any) -> bool:
    return sharding.memory_kind == HOST
