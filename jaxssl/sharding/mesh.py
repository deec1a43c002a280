"""The devices as a grid, and where every array of the state lies on it.

data     the batch is cut, parameters are copied
fsdp     the batch is cut, and parameters and optimizer state are too
tensor   heads, the inner width of the MLP and the vocabulary are cut
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

from jaxssl.errors import InputError
from jaxssl.sharding.layout import path_of, specs_of

AXES = ("data", "fsdp", "tensor")


@dataclass(frozen=True)
class Mesh:
    """How many devices lie on each axis; -1 takes all that are left."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def sizes(self, devices: int, place: str = "this run") -> dict[str, int]:
        """Devices on each axis. Raises InputError where they are not all that `place` has."""
        sizes = dict(zip(AXES, (self.data, self.fsdp, self.tensor), strict=True))
        shown = list(sizes.values())
        if shown.count(-1) > 1 or any(size == 0 or size < -1 for size in shown):
            raise InputError(f"mesh {shown}: sizes are positive, and at most one of them is -1")
        fixed = math.prod(size for size in shown if size != -1)
        sizes = {n: max(devices // fixed, 1) if k == -1 else k for n, k in sizes.items()}
        if (needed := math.prod(sizes.values())) != devices:
            raise InputError(
                f"mesh {'x'.join(map(str, sizes.values()))} needs {needed} devices and {place} has "
                f"{devices}; set one of --mesh.data, --mesh.fsdp, --mesh.tensor to -1"
            )
        return sizes

    def make(self, devices: list[Any] | None = None) -> DeviceMesh:
        devices = jax.devices() if devices is None else devices
        grid = lay(devices, tuple(self.sizes(len(devices)).values()))
        return DeviceMesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def lay(devices: Sequence[Any], sizes: Sequence[int]) -> np.ndarray:
    """The devices as an array of `sizes`: the axes that exchange most get the fastest links.

    Slices, between which the network is slow, are laid along the first axes (`across_slices`). Within
    a slice the last axis takes neighbours of the torus first, and an axis that is no product of whole
    sides takes a part of one.
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
    """How many slices each axis spans: as many as it divides, from the first axis, `data`, on."""
    spans = []
    for size in sizes:
        spans.append(math.gcd(slices, size))
        slices //= spans[-1]
    return spans


def batch_sharding(mesh: DeviceMesh) -> NamedSharding:
    """Rows are cut over all devices that hold different data."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def rows_of_hosts(mesh: DeviceMesh, batch: int) -> dict[int, list[range]]:
    """Rows of a batch that the devices of each host need, in order.

    Where `tensor` spans hosts, these need the same rows and each reads them. Raises InputError for a
    batch that does not divide over the devices that need different rows.
    """
    ways = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch % ways:
        raise InputError(
            f"batch {batch} does not divide over the {ways} devices of data x fsdp = "
            f"{mesh.shape['data']} x {mesh.shape['fsdp']}; pass --data.batch {-(-batch // ways) * ways}"
        )
    parts: dict[int, set[tuple[int, int]]] = {}
    places: Any = batch_sharding(mesh).devices_indices_map((batch,))
    for device, (rows,) in places.items():
        parts.setdefault(device.process_index, set()).add(rows.indices(batch)[:2])
    return {host: _joined(sorted(own)) for host, own in parts.items()}


def _joined(parts: list[tuple[int, int]]) -> list[range]:
    """Neighbours as one."""
    joined: list[range] = []
    for start, stop in parts:
        if joined and joined[-1].stop == start:
            joined[-1] = range(joined[-1].start, stop)
        else:
            joined.append(range(start, stop))
    return joined


def state_shardings(state: Any, mesh: DeviceMesh) -> Any:
    """Where each leaf of a training state lies: parameters by the layout that their model carries.

    Moments and averages end with the path of their parameter, and lie as it does. What has another
    shape than its parameter (factored moments) or none (counters) is copied to every device.
    """
    leaves = jax.tree_util.tree_flatten_with_path(state.model)[0]
    parameters = {path_of(keys): leaf.shape for keys, leaf in leaves}
    specs = specs_of(state.model, mesh)

    def place(keys: Any, leaf: Any) -> NamedSharding:
        parts = path_of(keys).split("/")
        ends = ("/".join(parts[i:]) for i in range(len(parts)))
        name = next((end for end in ends if end in parameters), None)
        if name is None or parameters[name] != leaf.shape:
            return NamedSharding(mesh, PartitionSpec())
        return NamedSharding(mesh, specs[name])

    return jax.tree_util.tree_map_with_path(place, state)
