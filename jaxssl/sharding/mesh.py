"""The devices as a mesh of three axes, and how batches and training states are sharded over it.

data     shards the batch; parameters are replicated
fsdp     shards the batch, the parameters and the optimizer state
tensor   shards heads, the inner width of feed-forward parts and the vocabulary
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental.mesh_utils import create_device_mesh, create_hybrid_device_mesh
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.sharding import Mesh as DeviceMesh

from jaxssl.errors import InputError, checked
from jaxssl.sharding.layout import path_of, specs_of

AXES = ("data", "fsdp", "tensor")


@dataclass(frozen=True)
@checked
class Mesh:
    """The number of devices on each axis of the mesh; one axis may be -1, for all devices that are left."""

    data: int = -1
    """Devices that share the batch and have all parameters each (data parallelism). -1: all others."""
    fsdp: int = 1
    """Devices that share the batch and the parameters (fully sharded data parallelism). -1: all others."""
    tensor: int = 1
    """Devices that share heads, inner widths and the vocabulary (tensor parallelism). -1: all others."""

    def sizes(self, devices: int, owner: str = "this run") -> dict[str, int]:
        """Computes the number of devices on each axis.

        Args:
          devices: Number of devices.
          owner: What has these devices, for the message.

        Returns:
          Number of devices by the name of the axis.

        Raises:
          InputError: A size is 0 or below -1, several are -1, or the mesh does not take all devices.
        """
        sizes = dict(zip(AXES, (self.data, self.fsdp, self.tensor), strict=True))
        shown = list(sizes.values())
        if shown.count(-1) > 1 or any(size == 0 or size < -1 for size in shown):
            raise InputError(
                f"mesh {shown}: sizes are positive, and at most one of them is -1; set mesh.data to -1 and "
                "the others to positive numbers"
            )
        fixed = math.prod(size for size in shown if size != -1)
        sizes = {n: max(devices // fixed, 1) if k == -1 else k for n, k in sizes.items()}
        if (needed := math.prod(sizes.values())) != devices:
            raise InputError(
                f"mesh {'x'.join(map(str, sizes.values()))} needs {needed} devices and {owner} has "
                f"{devices}; set one of mesh.data, mesh.fsdp, mesh.tensor to -1"
            )
        return sizes

    def make(self, devices: list[Any] | None = None) -> DeviceMesh:
        """Arranges `devices` (None: all that JAX has) as a mesh with the axes `data`, `fsdp` and `tensor`.

        Raises:
          InputError: The sizes do not fit the number of devices.
        """
        devices = jax.devices() if devices is None else devices
        grid = arrange_devices(devices, tuple(self.sizes(len(devices)).values()))
        return DeviceMesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def arrange_devices(devices: Sequence[Any], sizes: Sequence[int]) -> np.ndarray:
    """Arranges devices as an array, so that the axes that exchange most get the fastest links.

    Slices of TPUs, between which the network is slow, are arranged along the first axes
    (`across_slices`). Within a slice the last axis gets neighbours of the torus first, and an axis that
    is no product of whole sides gets a part of a side.

    Args:
      devices: Devices of JAX.
      sizes: Shape of the mesh; its product is the number of devices.

    Returns:
      Array of devices of that shape.

    Raises:
      InputError: The slices have different numbers of devices.
    """
    counts = Counter(getattr(device, "slice_index", 0) for device in devices)
    if len(counts) == 1:
        return create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    if len(set(counts.values())) > 1:
        raise InputError(
            f"the {len(counts)} slices have {', '.join(map(str, counts.values()))} devices, and one "
            "mesh needs the same number of each; start hosts of slices that are alike"
        )
    outer = across_slices(sizes, len(counts))
    inner = [size // out for size, out in zip(sizes, outer, strict=True)]
    return create_hybrid_device_mesh(inner, outer, devices, allow_split_physical_axes=True)


def across_slices(sizes: Sequence[int], slices: int) -> list[int]:
    """Computes how many slices of TPUs each axis spans: as many as it can, from the first axis, `data`, on.

    Args:
      sizes: Shape of the mesh.
      slices: Number of slices.

    Returns:
      Number of slices along each axis.
    """
    spans = []
    for size in sizes:
        spans.append(math.gcd(slices, size))
        slices //= spans[-1]
    return spans


def batch_sharding(mesh: DeviceMesh) -> NamedSharding:
    """Returns the sharding of batches on a `mesh`: rows over all devices of the axes `data` and `fsdp`."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def rows_of_hosts(mesh: DeviceMesh, batch: int) -> dict[int, list[range]]:
    """Computes which rows of a batch each host reads.

    Where the axis `tensor` spans hosts, these need the same rows and each of them reads them.

    Args:
      mesh: Mesh of devices.
      batch: Rows of the global batch.

    Returns:
      Ranges of rows by the number of the host (process), in order.

    Raises:
      InputError: The batch does not divide over the devices of `data` and `fsdp`.
    """
    ways = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch % ways:
        raise InputError(
            f"batch {batch} does not divide over the {ways} devices of data x fsdp = "
            f"{mesh.shape['data']} x {mesh.shape['fsdp']}; set data.batch to {-(-batch // ways) * ways} "
            f"(with change_batch in a run that has begun with {batch}), or use a number of devices that "
            f"divides {batch}"
        )
    parts: dict[int, set[tuple[int, int]]] = {}
    indices: Any = batch_sharding(mesh).devices_indices_map((batch,))
    for device, (rows,) in indices.items():
        parts.setdefault(device.process_index, set()).add(rows.indices(batch)[:2])
    return {host: _joined(sorted(own)) for host, own in parts.items()}


def _joined(parts: list[tuple[int, int]]) -> list[range]:
    """Ranges, adjacent ones joined."""
    joined: list[range] = []
    for start, stop in parts:
        if joined and joined[-1].stop == start:
            joined[-1] = range(joined[-1].start, stop)
        else:
            joined.append(range(start, stop))
    return joined


def state_shardings(state: Any, mesh: DeviceMesh) -> Any:
    """Computes the sharding of every leaf of a training state.

    Parameters are sharded as the layout of their module says. The path of moments and averages ends with
    that of their parameter, and they are sharded as it is. Leaves of another shape than their parameter
    (factored moments) or without one (counters) are replicated.

    Args:
      state: Training state with the model as `state.model`; its leaves are arrays or their shapes.
      mesh: Mesh of devices.

    Returns:
      Pytree of `NamedSharding` with the structure of the state.

    Raises:
      InputError: A size does not divide over the mesh.
    """
    leaves = jax.tree_util.tree_flatten_with_path(state.model)[0]
    parameters = {path_of(keys): leaf.shape for keys, leaf in leaves}
    specs = specs_of(state.model, mesh)

    def sharding_of(keys: Any, leaf: Any) -> NamedSharding:
        parts = path_of(keys).split("/")
        ends = ("/".join(parts[i:]) for i in range(len(parts)))
        name = next((end for end in ends if end in parameters), None)
        if name is None or parameters[name] != leaf.shape:
            return NamedSharding(mesh, PartitionSpec())
        return NamedSharding(mesh, specs[name])

    return jax.tree_util.tree_map_with_path(sharding_of, state)
