"""A roofline of every fusion, for GPUs, of ours: their compiler writes no estimate into the program.

    time of an operation = max(bytes that it reads and writes / bandwidth, FLOPs of its products / peak)

Operations run one by one; launching them takes no time. The sum is therefore longer than the roofline of the
whole step, in which memory and arithmetic overlap freely, and still shorter than a step will be.
"""

import math
import re

from jaxssl.planning.cycles import MOVING, Operation, moves_only, part_of, stack_of
from jaxssl.planning.program_text import Computation, Instruction, Program
from jaxssl.planning.source_lines import SourceLines
from jaxssl.planning.traffic import is_free, moved
from jaxssl.training.chips import Chip

CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
# cuDNN's attention: the shape of the scores, and how many products of that size it takes
SCORES = re.compile(r'"intermediate_tensor_shape": ?\{.*?"dimensions": ?\[([^\]]*)\]')
PRODUCTS = {"__cudnn$fmhaScaleBiasSoftmax": 2, "__cudnn$fmhaScaleBiasSoftmaxBackward": 5}
TARGET = re.compile(r'custom_call_target="([^"]*)"')
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


def fusions_of(program: Program, lines: SourceLines, chip: Chip) -> list[Operation]:
    """Returns the operations of a step with the cycles of their rooflines, the dearest first.

    Args:
      program: The compiled step.
      lines: The source lines of the same program.
      chip: The GPU that it was compiled for.
    """
    found = []
    for name in program.steps:
        computation = program.computations[name]
        for instruction in computation.instructions.values():
            if is_free(instruction) or instruction.opcode.startswith(COLLECTIVES):
                continue
            arithmetic = flops_of(instruction, computation, program) / chip.peak
            memory = moved(instruction, computation, program) / chip.bandwidth
            cycles = round(max(arithmetic, memory) * chip.clock)
            if not cycles:
                continue
            stack = stack_of(instruction, program, lines)
            part = MOVING if moves_only(instruction, program) else part_of(stack)
            source = str(stack[0]) if stack else ""
            runs = program.times[name]
            one = Operation(instruction.name, instruction.opcode, part, source, cycles, runs)
            found.append(one)
    return sorted(found, key=lambda operation: -operation.total)


def flops_of(instruction: Instruction, computation: Computation, program: Program) -> float:
    """Counts the FLOPs of the matrix products of an instruction.

    Args:
      instruction: The instruction; products inside a fusion count.
      computation: The computation that it belongs to.
      program: The compiled step.
    """
    if instruction.opcode == "dot":
        return _of_product(instruction, computation)
    if instruction.opcode == "convolution":
        return _of_convolution(instruction, computation)
    if instruction.opcode == "custom-call":
        return _of_cudnn(instruction)
    if instruction.opcode != "fusion":
        return 0.0
    return sum(
        flops_of(part, inner, program)
        for inner in (program.computations[name] for name in instruction.called())
        for part in inner.instructions.values()
    )


def _of_product(dot: Instruction, computation: Computation) -> float:
    left = computation.instructions.get(dot.operands[0])
    axes = CONTRACTED.search(dot.rest)
    if left is None or axes is None:
        return 0.0
    sizes = left.shapes[0].sizes
    summed = math.prod(sizes[int(axis)] for axis in axes[1].split(",") if axis)
    return 2.0 * math.prod(dot.shapes[0].sizes) * summed


def _of_convolution(convolution: Instruction, computation: Computation) -> float:
    """Every output takes the kernel's elements of one output channel, which is its axis of most channels."""
    kernel = computation.instructions.get(convolution.operands[1])
    labels = re.search(r"dim_labels=\w+_(\w+)->", convolution.rest)
    if kernel is None or labels is None:
        return 0.0
    sizes = kernel.shapes[0].sizes
    return (
        2.0
        * math.prod(convolution.shapes[0].sizes)
        * math.prod(sizes)
        / sizes[labels[1].index("o")]
    )


def _of_cudnn(call: Instruction) -> float:
    """Attention by cuDNN: products of the size of the scores, of which causality leaves a half."""
    target, scores = TARGET.search(call.rest), SCORES.search(call.rest)
    if target is None or scores is None or target[1] not in PRODUCTS:
        return 0.0
    size = math.prod(int(number) for number in re.findall(r"\d+", scores[1]))
    width = call.shapes[0].sizes[-1]
    half = 0.5 if '"mask_type": "CAUSAL"' in call.rest else 1.0
    return 2.0 * PRODUCTS[target[1]] * size * width * half
