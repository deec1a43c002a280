"""Keeps the optimizer's moments in the host's memory, so that a device holds them only during the update.

Each device stores its shard in pinned memory of its own host. The compiler copies it to the device and
back, and overlaps the copies with other work where it can.

References:
  Ren et al. 2021, "ZeRO-Offload: democratizing billion-scale model training"; there, the update itself
  runs on the host, here it runs on the device.
"""

from typing import Any

import jax
import optax
from jax.sharding import AbstractMesh

from jaxssl.errors import InputError

Tree = Any
HOST = "pinned_host"  # JAX's name of the memory kind
PLATFORMS = ("tpu", "gpu")  # their compilers copy arrays between the memory kinds


class OnHost(optax.GradientTransformation):
    """An optimizer whose state the training step keeps in the host's memory; otherwise unchanged.

    The class marks the optimizer: `jaxssl.training.step` checks for it with `isinstance`.
    """


def check_host_memory(mesh: Any) -> None:
    """Checks that the devices of `mesh` can use pinned memory of their host.

    Raises:
      InputError: The platform has no such memory kind (CPU). An `AbstractMesh`, which a plan uses to
        count bytes without running anything, is accepted.
    """
    if isinstance(mesh, AbstractMesh):  # a plan only counts its bytes
        return
    platform = mesh.devices.flat[0].platform
    if platform not in PLATFORMS:
        raise InputError(
            f"optimizer.host_moments: a {platform} has no {HOST} memory beside its own, only "
            f"{' and '.join(PLATFORMS)} have; set optimizer.host_moments to False"
        )


def on_host(shapes: Tree, shardings: Tree) -> Tree:
    """Returns the shardings with all arrays of two or more axes moved to the host's memory.

    Vectors and counters stay on the device, since copying them would save next to nothing.

    Args:
      shapes: Pytree of the optimizer's state: arrays or their `jax.ShapeDtypeStruct`.
      shardings: Pytree of the same structure with a `NamedSharding` for each array.
    """

    def place(leaf: Any, sharding: Any) -> Any:
        return sharding.with_memory_kind(HOST) if leaf.ndim > 1 else sharding

    return jax.tree.map(place, shapes, shardings)


def to_device(state: Tree, shardings: Tree) -> Tree:
    """Copies the arrays that are on the host to the device; to be called inside `jit`.

    Args:
      state: Pytree of the optimizer's state.
      shardings: Pytree of the same structure, as from `on_host`.

    Returns:
      The state in the memory of the devices, sharded as before.
    """

    def move(leaf: Any, sharding: Any) -> Any:
        if not is_on_host(sharding):
            return leaf
        return jax.device_put(leaf, sharding.with_memory_kind("device"))

    return jax.tree.map(move, state, shardings)


def to_host(state: Tree, shardings: Tree) -> Tree:
    """Copies the arrays that belong on the host back to it; to be called inside `jit`.

    Args:
      state: Pytree of the optimizer's state.
      shardings: Pytree of the same structure, as from `on_host`.

    Returns:
      The state in the memory kinds that `shardings` name.
    """

    def move(leaf: Any, sharding: Any) -> Any:
        return jax.device_put(leaf, sharding) if is_on_host(sharding) else leaf

    return jax.tree.map(move, state, shardings)


def is_on_host(sharding: Any) -> bool:
    """Returns whether `sharding` is in the host's memory."""
    return sharding.memory_kind == HOST
