"""Forecasts the time of a step operation by operation, with its kernels and what collectives add.

    step = (cycles of the operations + cycles of the Pallas kernels) / clock + collectives that are not hidden

On TPUs the compiler estimates each operation of the optimised program (`cycles.py`), and kernels are
estimated by `kernels.py`. On GPUs every operation has a roofline of its own (`fusion_roofline.py`).
Collectives are estimated by the links of `estimate.py`. Asynchronous copies run beside other work and count
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxssl.planning.cycles import Operation, by_part, operations_of, part_of, stack_of
from jaxssl.planning.fusion_roofline import fusions_of
from jaxssl.planning.kernels import read_kernel
from jaxssl.planning.program_text import Program
from jaxssl.planning.source_lines import SourceLines
from jaxssl.training.chips import Chip

SHOWN = 20  # operations that a page shows
KERNEL = "pallas kernel"
COLLECTIVES = "collectives not hidden"
COMPILER = "by the compiler's own estimate of every operation"
OURS = "by a roofline of every operation, which is ours"


@dataclass(frozen=True)
class Forecast:
    """The forecast of a step on one device."""

    cycles: float
    """Cycles of a step: operations, kernels, and collectives that are not hidden."""
    seconds: float
    """Seconds of a step, at the clock of the chip."""
    utilisation: float
    """Model FLOPs (without recomputation) as a fraction of what the device could do in that time."""
    parts: dict[str, float]
    """Cycles of each part of a step, such as "attention", the dearest first."""
    dearest: tuple[Operation, ...]
    """The operations and kernels that take longest."""
    kernels: float
    """Cycles of Pallas kernels on TPUs among `cycles`, by our estimate."""
    uncovered: dict[str, int]
    """Runs per step of instructions that nothing estimates, by their opcode or target."""
    source: str = COMPILER
    """Who estimates an operation, in words."""


def forecast(
    program: Program,
    lines: SourceLines,
    chip: Chip,
    *,
    flops: float,
    exposed: float,
) -> Forecast | None:
    """Makes the forecast of a step.

    Args:
      program: The compiled step.
      lines: The source lines of the same program.
      chip: The chip that it was compiled for.
      flops: FLOPs of a step on one device, without recomputation.
      exposed: Seconds of collectives that are not hidden.

    Returns:
      The forecast; None where the compiler has written no cycles, or the chip's clock is not known.
    """
    if not chip.clock:
        return None
    operations = estimated(program, lines, chip)
    if not operations:
        return None
    kernels, uncovered = _kernels(program, lines, chip)
    waiting = exposed * chip.clock
    everything = sorted([*operations, *kernels], key=lambda operation: -operation.total)
    parts: dict[str, float] = dict(by_part(everything))
    if waiting:
        parts[COLLECTIVES] = waiting
    cycles = sum(parts.values())
    seconds = cycles / chip.clock
    return Forecast(
        cycles=cycles,
        seconds=seconds,
        utilisation=flops / (seconds * chip.peak / chip.devices),
        parts=dict(sorted(parts.items(), key=lambda part: -part[1])),
        dearest=tuple(everything[:SHOWN]),
        kernels=float(sum(kernel.total for kernel in kernels)),
        uncovered=uncovered,
        source=COMPILER if chip.is_tpu else OURS,
    )


def estimated(program: Program, lines: SourceLines, chip: Chip) -> list[Operation]:
    """Returns the operations of a step with their cycles on `chip`, but for Pallas kernels on TPUs.

    Args:
      program: The compiled step.
      lines: The source lines of the same program.
      chip: The chip that it was compiled for.
    """
    return operations_of(program, lines) if chip.is_tpu else fusions_of(program, lines, chip)


def _kernels(
    program: Program, lines: SourceLines, chip: Chip
) -> tuple[Sequence[Operation], dict[str, int]]:
    """Returns the Pallas kernels of a step, and how often kernels that cannot be read run."""
    kernels, unread = [], {}
    for name in program.steps:
        for instruction in program.computations[name].instructions.values():
            if instruction.opcode != "custom-call" or "tpu_custom_call" not in instruction.rest:
                continue
            kernel, runs = read_kernel(instruction), program.times[name]
            if kernel is None:
                unread[instruction.name] = runs
                continue
            stack = stack_of(instruction, program, lines)
            source = str(stack[0]) if stack else kernel.name
            cycles = round(kernel.cycles(chip))
            kernels.append(
                Operation(instruction.name, KERNEL, part_of(stack), source, cycles, runs)
            )
    return kernels, unread
