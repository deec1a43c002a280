"""The devices as a grid, and where every array of the state lies on it.

data     the batch is cut, parameters are copied
fsdp     the batch is cut, and parameters and optimizer state are too
tensor   heads, the inner width of the MLP and the vocabulary are cut
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.sharding import Mesh as DeviceMesh

from jaxssl.errors import InputError
from jaxssl.models import masked_language_model, replaced_token_model, transformer
from jaxssl.models.layout import path_of, spec_of

TABLES = (masked_language_model.LAYOUT, replaced_token_model.LAYOUT, transformer.LAYOUT)
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
        sizes = tuple(self.sizes(len(devices)).values())
        return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def batch_sharding(mesh: DeviceMesh) -> NamedSharding:
    """Rows are cut over all devices that hold different data."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def state_shardings(state: Any, mesh: DeviceMesh) -> Any:
    """Where each leaf of a training state lies: parameters by the layout tables of their models.

    Moments and averages end with the path of their parameter, and lie as it does. What has another
    shape than its parameter (factored moments) or none (counters) is copied to every device.
    """
    leaves = jax.tree_util.tree_flatten_with_path(state.model)[0]
    parameters = {path_of(keys): leaf.shape for keys, leaf in leaves}

    def place(keys: Any, leaf: Any) -> NamedSharding:
        parts = path_of(keys).split("/")
        ends = ("/".join(parts[i:]) for i in range(len(parts)))
        name = next((end for end in ends if end in parameters), None)
        if name is None or parameters[name] != leaf.shape:
            return NamedSharding(mesh, PartitionSpec())
        return NamedSharding(mesh, spec_of(name, leaf.shape, mesh, TABLES))

    return jax.tree_util.tree_map_with_path(place, state)
