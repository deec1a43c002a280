"""Estimates the cycles of Pallas kernels on TPUs, for which the compiler writes none. The estimate is ours.

A kernel is stored in the program as an MLIR module: a function for one block, and the bounds of its grid.
Counted for one block, in cycles:

    matrix unit   a product of [m, k] and [k, n] takes m * ceil(k / side) * ceil(n / side) / units, where
                  `units` matrix units of side * side multiply-adds work at the same time
    vector unit   elements / 4,096 for each arithmetic operation, and elements / 1,024 for exp, log and others
                  of the transcendental unit

The units work side by side, so the longest counts, times the number of blocks. Branches that may be skipped,
e.g. for masked blocks, are counted in full, and time to start a block is left out. Where the bounds of the
grid are known only when the kernel runs, the number of blocks is that of the FLOPs that the kernel announces
to the compiler (`cost_estimate`).

References:
  jax-ml.github.io/scaling-book, chapter 2, "How to think about TPUs" (the units and their sizes).
"""

import base64
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from jaxssl.planning.program_text import Instruction
from jaxssl.training.chips import Chip

BODY = re.compile(r'"body":"([^"]*)"')
ANNOUNCED = re.compile(r'"cost_estimate":\{"flops":"(\d+)"')
VECTOR = re.compile(r"vector<([\dx]+)x[a-z]+\d+\w*>")
LANES = 1024  # numbers in a vector register, 8 rows of 128
ALUS = 4  # arithmetic operations on such registers at the same time
TRANSCENDENTAL = {
    "exp",
    "exp2",
    "log",
    "log2",
    "log1p",
    "tanh",
    "rsqrt",
    "sqrt",
    "powf",
    "erf",
    "divf",
}
ARITHMETIC = {
    "addf", "subf", "mulf", "maximumf", "minimumf", "negf", "addi", "subi", "muli", "andi", "ori", "xori",
    "shli", "shrui", "shrsi", "cmpf", "cmpi", "select", "extf", "truncf", "sitofp",
    "fptosi", "multi_reduction",
}  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """What one Pallas kernel computes in one run, on one device."""

    name: str
    """Name of the kernel's function."""
    blocks: int
    """Number of blocks of its grid."""
    products: tuple[tuple[int, int, int], ...]
    """Matrix products of a block: sizes m, k and n of each."""
    arithmetic: int
    """Elements of a block that the vector unit computes."""
    transcendental: int
    """Elements of a block that the transcendental unit computes."""

    def flops(self) -> float:
        """Returns the floating-point operations of the matrix products."""
        return 2.0 * self.blocks * sum(m * k * n for m, k, n in self.products)

    def cycles(self, chip: Chip) -> float:
        """Returns the estimated cycles of one run on one device of `chip`."""
        side = chip.matrix_side
        units = chip.peak / chip.devices / (2 * chip.clock * side * side)
        matrix = sum(m * math.ceil(k / side) * math.ceil(n / side) for m, k, n in self.products)
        vector = self.arithmetic / (LANES * ALUS)
        return self.blocks * max(matrix / units, vector, self.transcendental / LANES)


def read_kernel(instruction: Instruction) -> Kernel | None:
    """Returns the Pallas kernel that an instruction calls, or None if it calls none that can be read."""
    body = BODY.search(instruction.rest)
    if instruction.opcode != "custom-call" or body is None:
        return None
    try:
        from jaxlib.mlir import ir
        from jaxlib.mlir._mlir_libs import _tpu_ext
    except ImportError:  # another version of jaxlib
        return None
    context = ir.Context()
    context.allow_unregistered_dialects = True
    _tpu_ext.register_dialect(context)
    try:
        with context:
            module = ir.Module.parse(base64.b64decode(body[1]))
            announced = ANNOUNCED.search(instruction.rest)
            return _kernel(module, 0 if announced is None else int(announced[1]))
    except (ir.MLIRError, ValueError):
        return None


def _kernel(module: Any, announced: int) -> Kernel | None:
    """Returns the kernel of a module; the function with the bounds of a grid is its main one.

    Args:
      module: The kernel's module.
      announced: FLOPs that the kernel announces; they tell the blocks of a grid without constant bounds.
    """
    for function in module.body.operations:
        attributes = function.operation.attributes
        if "iteration_bounds" not in attributes:
            continue
        bounds = [int(bound) for bound in attributes["iteration_bounds"]]
        products, arithmetic, transcendental = [], 0, 0
        for name, kinds, times in _operations(function.operation, 1):
            if name == "matmul":
                left, _, result = kinds[:3]
                *_, m, n = result
                products += [(m, math.prod(left) // m, n)] * times
            elif name in TRANSCENDENTAL:
                transcendental += times * math.prod(kinds[0]) if kinds else 0
            elif name in ARITHMETIC:
                arithmetic += times * math.prod(kinds[0]) if kinds else 0
        name = str(attributes["sym_name"]).strip('"')
        one = Kernel(name, 1, tuple(products), arithmetic, transcendental)
        if min(bounds, default=1) >= 0:
            return replace(one, blocks=math.prod(bounds))
        return replace(one, blocks=round(announced / one.flops())) if announced else None
    return None


def _operations(operation: Any, times: int) -> Iterator[tuple[str, list[tuple[int, ...]], int]]:
    """Yields the name, the operands' vector shapes, and the number of runs of all operations inside one."""
    for region in operation.regions:
        for block in region.blocks:
            for inner in block.operations:
                inside = inner.operation
                kinds = [VECTOR.search(str(operand.type)) for operand in inside.operands]
                shapes = [tuple(int(size) for size in kind[1].split("x")) for kind in kinds if kind]
                name = inside.name.rpartition(".")[2]
                yield name, shapes, times
                yield from _operations(inside, times * _trips(inside))


def _trips(operation: Any) -> int:
    """Returns the iterations of a loop with constant bounds, and 1 for all else."""
    if not operation.name.endswith("scf.for"):
        return 1
    bounds = []
    for operand in list(operation.operands)[:3]:
        owner = operand.owner
        text = str(owner.attributes["value"]) if "value" in getattr(owner, "attributes", ()) else ""
        found = re.match(r"(-?\d+)", text)
        if found is None:
            return 1
        bounds.append(int(found[1]))
    low, high, step = bounds
    return max(1, math.ceil((high - low) / step))
