"""Do the losses stay small on a pod, and what do they send? Compiled for TPU slices, without one.

    pip install libtpu requests
    python -m benchmarks.losses_on_pods                      v5e:4x4 and v5p:4x4x4, some minutes
    python -m benchmarks.losses_on_pods --topology v6e:2x4

Each row is the gradient of one loss, as the optimised program of one device has it: temporaries by
`memory_analysis`, its largest array, and its collectives (distinct channels; a loop's body counts once). Ends
with an error where an array is larger than a block, or where a kernel cut over `tensor` is gathered.
"""

import argparse
import importlib.util
import math
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no TPU host to ask
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxssl import losses
from jaxssl.losses.blockwise.token_blocks import default_block

TENSOR = 4  # devices over which the vocabulary is cut
WHOLE, DATA = PartitionSpec(), PartitionSpec("data")


class Sizes(NamedTuple):
    rows: int = 32768  # pairs, over all devices
    width: int = 128
    block: int = 512
    tokens: int = 4096  # of a device
    dim: int = 768
    vocab: int = 50304
    head_block: int | None = (
        None  # tokens whose logits are held at a time; None: as the library chooses
    )


class Case(NamedTuple):
    name: str
    gradient: Callable[..., Any]
    arrays: tuple[jax.ShapeDtypeStruct, ...]
    largest: int  # elements that an array of the program may have
    gathers: bool = True  # whether anything may be gathered


class Program(NamedTuple):
    temporaries: float  # megabytes of a device
    largest: str  # its type and shape
    elements: int  # of the largest
    collectives: dict[str, int]


def nt_xent(devices: Sequence[Any], sizes: Sizes) -> Case:
    mesh = _mesh(devices, (len(devices),), ("data",))
    loss = partial(losses.nt_xent, axis_name="data", block_size=sizes.block)
    rows = _array((sizes.rows, sizes.width), jnp.float32, mesh, DATA)
    local = sizes.rows // len(devices)
    tile = min(sizes.block, 2 * local) * 2 * local
    gradient = jax.grad(_mapped(loss, mesh, (DATA, DATA)), (0, 1))
    return Case("nt_xent, ring", gradient, (rows, rows), max(tile, 2 * local * sizes.width), False)


def vocabulary_head(devices: Sequence[Any], sizes: Sizes, tensor: int) -> Case:
    shape = (len(devices) // tensor, tensor)
    mesh = _mesh(devices, shape, ("data", "tensor"))
    kernel_spec = PartitionSpec("tensor") if tensor > 1 else WHOLE
    loss = partial(
        losses.linear_cross_entropy,
        block_size=sizes.head_block,
        axis_name="data",
        vocab_axis_name="tensor" if tensor > 1 else None,
    )
    tokens = sizes.tokens * shape[0]
    arrays = (
        _array((tokens, sizes.dim), jnp.bfloat16, mesh, DATA),
        _array((sizes.vocab, sizes.dim), jnp.float32, mesh, kernel_spec),
        _array((tokens,), jnp.int32, mesh, DATA),
        _array((tokens,), jnp.float32, mesh, DATA),
    )
    part = sizes.vocab // tensor
    block = min(sizes.tokens, sizes.head_block or default_block(sizes.dim, part, jnp.bfloat16))
    name = f"linear_cross_entropy, vocabulary over {tensor}"
    gradient = jax.grad(_mapped(loss, mesh, (DATA, kernel_spec, DATA, DATA)), (0, 1))
    largest = max(part * sizes.dim, block * part, sizes.tokens * sizes.dim)
    return Case(name, gradient, arrays, largest, gathers=False)


def _mesh(devices: Sequence[Any], shape: tuple[int, ...], names: tuple[str, ...]) -> Mesh:
    placed = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    return Mesh(placed, names, axis_types=(AxisType.Auto,) * len(names))


def _mapped(loss: Callable[..., jax.Array], mesh: Mesh, specs: Any) -> Callable[..., jax.Array]:
    return jax.shard_map(loss, mesh=mesh, in_specs=specs, out_specs=WHOLE)


def _array(shape: Any, dtype: Any, mesh: Mesh, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))


def compiled(case: Case) -> Program:
    outputs = tuple(array.sharding for array in case.arrays[:2])
    program = jax.jit(case.gradient, out_shardings=outputs).lower(*case.arrays).compile()
    text = program.as_text()
    elements, largest = largest_array(text)
    memory = program.memory_analysis().temp_size_in_bytes / 1e6
    return Program(memory, largest, elements, collectives(text))


def largest_array(text: str) -> tuple[int, str]:
    shapes = set(re.findall(r"\b(?:pred|bf16|[fsu]\d+)\[\d[\d,]*\]", text))
    sizes = [(math.prod(map(int, re.findall(r"\d+", s[s.index("[") :]))), s) for s in shapes]
    return max(sizes)


def collectives(text: str) -> dict[str, int]:
    """How many distinct channels each kind has."""
    kinds = "all-gather|all-reduce|reduce-scatter|collective-permute|all-to-all"
    found = re.findall(rf"\b({kinds})(?:-start)?\(.*?channel_id=(\d+)", text)
    return {kind: len({c for k, c in found if k == kind}) for kind in sorted({k for k, _ in found})}


def check(case: Case, program: Program) -> None:
    if program.elements > case.largest:
        raise SystemExit(
            f"{case.name}: an array {program.largest} of {program.elements} elements; a block and "
            f"what is given need no more than {case.largest}"
        )
    if not case.gathers and "all-gather" in program.collectives:
        raise SystemExit(f"{case.name}: something is gathered: {program.collectives}")


def every_case(devices: Sequence[Any], sizes: Sizes) -> list[Case]:
    heads = [vocabulary_head(devices, sizes, tensor) for tensor in (1, TENSOR)]
    return [nt_xent(devices, sizes), *heads]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--topology", nargs="+", default=["v5e:4x4", "v5p:4x4x4"])
    options = parser.parse_args()
    if importlib.util.find_spec("libtpu") is None:
        print("not run: libtpu compiles for TPUs and is not installed; pip install libtpu requests")
        return
    from jax.experimental import topologies

    for name in options.topology:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=name).devices
        print(f"\n{name}, {len(devices)} devices, jax {jax.__version__}")
        print(f"{'':40}{'temporaries':>14}  {'largest array':20}collectives")
        for case in every_case(np.asarray(devices).ravel().tolist(), Sizes()):
            program = compiled(case)
            kinds = ", ".join(f"{count} {kind}" for kind, count in program.collectives.items())
            line = f"{program.temporaries:11.1f} MB  {program.largest:20}{kinds}"
            print(f"{case.name:40}{line}", flush=True)
            check(case, program)


if __name__ == "__main__":
    main()
