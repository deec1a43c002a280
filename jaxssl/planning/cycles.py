"""Reads the compiler's own estimate of the cycles that every operation of a step takes on a TPU.

libtpu writes `"estimated_cycles":"N"` into the optimised program, on every fusion, copy and convolution. The
sum over the instructions that run one by one, times how often each runs, is a deterministic profile without
hardware. Pallas kernels, collectives and asynchronous copies have no such number: kernels are estimated by
`kernels.py`, collectives by `estimate.py`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from jaxssl.planning.program_text import Computation, Instruction, Program
from jaxssl.planning.source_lines import Frame, SourceLines

CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
MOVING = "moving data"
OTHER = "other"
# The part of a step that an operation belongs to: the first of these names that occurs in a frame, as
# "file:function", from the innermost frame outwards.
PARTS = (
    ("optax/", "optimizer"),
    ("jaxssl/optimizers/", "optimizer"),
    ("jaxssl/objectives/corruption/", "corruption"),
    (".corrupt", "corruption"),
    ("jaxssl/augment/", "corruption"),
    ("jaxssl/losses/", "head"),
    ("jaxssl/objectives/prediction/", "head"),
    ("jaxssl/objectives/joint_embedding/", "head"),
    ("vocabulary_head", "head"),
    (":MaskedLanguageModel.token_head", "head"),
    ("Norm.", "norms"),
    (":standardize", "norms"),
    ("jaxssl/models/layers/attention", "attention"),
    ("jaxssl/models/layers/fused_attention", "attention"),
    ("jaxssl/models/layers/rotary", "attention"),
    ("jaxssl/models/layers/flash/", "attention"),
    ("jaxssl/models/layers/mlp", "feed-forward"),
    (":FeedForward.", "feed-forward"),
    ("jaxssl/models/layers/convolution", "convolution"),
    (":Embedding.", "embedding"),
    ("jaxssl/sharding/lookup", "embedding"),
    (":Transformer._embed", "embedding"),
    ("jaxssl/models/layers/patches", "embedding"),
    (":add_part", "residuals"),
)
# Opcodes that only move numbers, or compute where to
MOVES = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "bitcast-convert", "copy", "slice",
    "dynamic-slice", "dynamic-update-slice", "concatenate", "pad", "reshape", "transpose", "broadcast",
    "convert", "iota", "reverse", "copy-start", "copy-done", "slice-start", "slice-done", "fusion",
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """One operation of a step, which runs by itself."""

    name: str
    """Name of the instruction in the program."""
    opcode: str
    """Opcode, such as "fusion" or "copy"."""
    part: str
    """Part of the step that the operation belongs to, such as "attention"."""
    source: str
    """File and line of the code that it was traced from; empty where unknown."""
    cycles: int
    """Estimated cycles of one run."""
    runs: int
    """Number of runs per step."""

    @property
    def total(self) -> int:
        """Returns the cycles of all runs in a step."""
        return self.cycles * self.runs


def operations_of(program: Program, lines: SourceLines) -> list[Operation]:
    """Returns the operations of a step that have an estimate of the compiler, the dearest first.

    Args:
      program: The compiled step.
      lines: The source lines of the same program.
    """
    found = []
    for name in program.steps:
        for instruction in program.computations[name].instructions.values():
            cycles = CYCLES.search(instruction.rest)
            if cycles is None or int(cycles[1]) == 0:
                continue
            stack = stack_of(instruction, program, lines)
            part = MOVING if moves_only(instruction, program) else part_of(stack)
            source = str(stack[0]) if stack else ""
            found.append(
                Operation(
                    instruction.name,
                    instruction.opcode,
                    part,
                    source,
                    int(cycles[1]),
                    program.times[name],
                )
            )
    return sorted(found, key=lambda operation: -operation.total)


def by_part(operations: Iterable[Operation]) -> dict[str, int]:
    """Returns the cycles per step of each part of the `operations`, the dearest first."""
    sums: dict[str, int] = {}
    for operation in operations:
        sums[operation.part] = sums.get(operation.part, 0) + operation.total
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def part_of(stack: list[Frame]) -> str:
    """Returns the part of a step that `stack`, innermost frame first, belongs to."""
    for frame in stack:
        place = f"{frame.file}:{frame.function}"
        for mark, part in PARTS:
            if mark in place:
                return part
    return OTHER


def stack_of(instruction: Instruction, program: Program, lines: SourceLines) -> list[Frame]:
    """Returns the frames of an instruction, or those of the matrix product inside a fusion.

    The metadata of a fusion are those of its last operation, which may be a trifle that was fused into a
    matrix product; so the product decides, where there is one.

    Args:
      instruction: The instruction.
      program: The program that it belongs to.
      lines: The source lines of the program.

    Returns:
      The frames, innermost first; an empty list where nothing names any.
    """
    for inner in _inside(instruction, program):
        for part in inner.instructions.values():
            if part.opcode in ("dot", "convolution") and (stack := lines.stack(part.rest)):
                return stack
    if stack := lines.stack(instruction.rest):
        return stack
    for inner in _inside(instruction, program):
        for part in inner.instructions.values():
            if part.opcode not in MOVES and (stack := lines.stack(part.rest)):
                return stack
    return []


def moves_only(instruction: Instruction, program: Program) -> bool:
    """Returns whether an `instruction` of `program` moves numbers and computes none, but for scalars."""
    if instruction.opcode != "fusion":
        return instruction.opcode in MOVES
    return all(
        part.opcode in MOVES or all(len(shape.sizes) == 0 for shape in part.shapes)
        for inner in _inside(instruction, program)
        for part in inner.instructions.values()
    )


def _inside(instruction: Instruction, program: Program) -> list[Computation]:
    """Returns the computations that a fusion consists of, nested ones too."""
    if instruction.opcode != "fusion":
        return []
    found, waiting = [], instruction.called()
    while waiting:
        computation = program.computations.get(waiting.pop())
        if computation is not None:
            found.append(computation)
            for part in computation.instructions.values():
                if part.opcode == "fusion":
                    waiting += part.called()
    return found
