"""Started twice by `test_processes.py`: the table of topologies over 2 processes x 4 devices."""

import sys
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from tests.losses import cases
from tests.losses.sums import (
    accumulated,
    all_losses,
    batch_losses,
    cached,
    on_one_device,
    token_losses,
)
from tests.losses.topologies import (
    AXIS,
    fast_to_compile,
    relative_error,
    value_and_mean_gradient,
)

CUT, WHOLE = PartitionSpec(AXIS), PartitionSpec()


def programs(mesh: Mesh) -> dict[str, tuple[Any, Any]]:
    """Name -> the program, and the function that it is on one device."""

    def mapped(function: Any, check_vma: bool) -> Any:
        return jax.shard_map(
            function, mesh=mesh, in_specs=(WHOLE, CUT), out_specs=WHOLE, check_vma=check_vma
        )

    made = {}
    for name, loss, alone in (
        ("whole", all_losses, all_losses),
        ("accumulated", accumulated, token_losses),
    ):
        inside = value_and_mean_gradient(partial(loss, axis_name=AXIS))
        made[f"{name}, jit"] = (jax.value_and_grad(loss), alone)
        made[f"{name}, shard_map"] = (mapped(inside, True), alone)
        made[f"{name}, shard_map unchecked"] = (mapped(inside, False), alone)
    made["cached, shard_map"] = (mapped(partial(cached, axis_name=AXIS), True), batch_losses)
    return made


def main(port: str, process: int) -> None:
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, process)
    mesh = jax.make_mesh((8,), (AXIS,), axis_types=(AxisType.Auto,))

    def place(array: Any, spec: PartitionSpec) -> jax.Array:
        array = np.asarray(array)
        return jax.make_array_from_callback(
            array.shape, NamedSharding(mesh, spec), lambda index: array[index]
        )

    for name, (program, alone) in programs(mesh).items():
        compiled = fast_to_compile(program, out_shardings=NamedSharding(mesh, WHOLE))
        for uneven in (True, False):
            params, reference = on_one_device(alone, uneven)
            result = compiled(
                jax.tree.map(lambda a: place(a, WHOLE), params),
                jax.tree.map(lambda a: place(a, CUT), cases.make_batch(uneven)),
            )
            here = jax.tree.map(lambda a: np.asarray(a.addressable_data(0)), result)
            kind = "uneven" if uneven else "even"
            print(f"{name}, {kind}", relative_error(here, reference), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
