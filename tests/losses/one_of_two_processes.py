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
    split,
    value_and_mean_gradient,
)

CUT, WHOLE = PartitionSpec(AXIS), PartitionSpec()


def programs(mesh: Mesh, process: int) -> dict[str, tuple[Any, Any]]:
    """Name -> what this process runs of (params, batch), and the function that it is on one device."""

    def placed(function: Any) -> Any:
        compiled = fast_to_compile(function, out_shardings=NamedSharding(mesh, WHOLE))

        def run(params: Any, batch: Any) -> Any:
            params = jax.tree.map(lambda a: place(a, WHOLE), params)
            batch = jax.tree.map(lambda a: place(a, CUT), batch)
            return jax.tree.map(lambda a: a.addressable_data(0), compiled(params, batch))

        return run

    def place(array: Any, spec: PartitionSpec) -> jax.Array:
        array = np.asarray(array)
        return jax.make_array_from_callback(
            array.shape, NamedSharding(mesh, spec), lambda index: array[index]
        )

    def mapped(function: Any, check_vma: bool) -> Any:
        return placed(
            jax.shard_map(
                function, mesh=mesh, in_specs=(WHOLE, CUT), out_specs=WHOLE, check_vma=check_vma
            )
        )

    def pmapped(function: Any) -> Any:
        """Each process gives the rows of its own four devices."""
        compiled = jax.pmap(function, axis_name=AXIS, in_axes=(None, 0))

        def run(params: Any, batch: Any) -> Any:
            mine = jax.tree.map(lambda a: a[4 * process : 4 * process + 4], split(batch, 8))
            each = compiled(params, mine)
            return jax.tree.map(lambda a: a.addressable_data(0).squeeze(0), each)

        return run

    made = {}
    for name, loss, alone in (
        ("whole", all_losses, all_losses),
        ("accumulated", accumulated, token_losses),
    ):
        inside = value_and_mean_gradient(partial(loss, axis_name=AXIS))
        made[f"{name}, jit"] = (placed(jax.value_and_grad(loss)), alone)
        made[f"{name}, pmap"] = (pmapped(inside), alone)
        made[f"{name}, shard_map"] = (mapped(inside, True), alone)
        made[f"{name}, shard_map unchecked"] = (mapped(inside, False), alone)
    inside = partial(cached, axis_name=AXIS)
    made["cached, jit"] = (placed(cached), batch_losses)
    made["cached, pmap"] = (pmapped(inside), batch_losses)
    made["cached, shard_map"] = (mapped(inside, True), batch_losses)
    return made


def main(port: str, process: int) -> None:
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, process)
    mesh = jax.make_mesh((8,), (AXIS,), axis_types=(AxisType.Auto,))
    for name, (run, alone) in programs(mesh, process).items():
        for uneven in (True, False):
            params, reference = on_one_device(alone, uneven)
            here = jax.tree.map(np.asarray, run(params, cases.make_batch(uneven)))
            kind = "uneven" if uneven else "even"
            print(f"{name}, {kind}", relative_error(here, reference), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
