"""Started twice by `test_processes.py`: the table of topologies over 2 processes x 4 devices."""

import sys
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.losses import cases
from tests.losses.test_topologies import all_losses, parameters
from tests.losses.topologies import AXIS, relative_error


def main(port: str, process: int) -> None:
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, process)
    mesh = jax.make_mesh((8,), (AXIS,), axis_types=(AxisType.Auto,))
    cut, whole = PartitionSpec(AXIS), PartitionSpec()
    params, batch = parameters(cases.ALL), cases.make_batch(uneven=True)
    alone = jax.jit(jax.value_and_grad(all_losses))(params, batch)
    reference = jax.tree.map(np.asarray, alone)

    def place(array: Any, spec: PartitionSpec) -> jax.Array:
        array = np.asarray(array)
        return jax.make_array_from_callback(
            array.shape, NamedSharding(mesh, spec), lambda index: array[index]
        )

    params = jax.tree.map(lambda a: place(a, whole), params)
    batch = jax.tree.map(lambda a: place(a, cut), batch)

    def inside(params: Any, batch: Any) -> Any:
        named = jax.value_and_grad(lambda p: all_losses(p, batch, AXIS))
        value, gradient = named(params)
        return value, jax.lax.pmean(gradient, AXIS)

    def mapped(check_vma: bool) -> Any:
        return jax.shard_map(
            inside, mesh=mesh, in_specs=(whole, cut), out_specs=whole, check_vma=check_vma
        )

    same = NamedSharding(mesh, whole)
    programs = {
        "jit": jax.value_and_grad(all_losses),
        "shard_map": mapped(check_vma=True),
        "shard_map unchecked": mapped(check_vma=False),
    }
    for name, program in programs.items():
        result = jax.jit(program, out_shardings=same)(params, batch)
        here = jax.tree.map(lambda a: np.asarray(a.addressable_data(0)), result)
        print(name, relative_error(here, reference), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
