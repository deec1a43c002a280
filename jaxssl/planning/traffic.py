"""Counts the bytes that a compiled program moves between a device's memory and its processors.

Each instruction that is not fused into another one reads its operands from memory and writes its result
to it. If only a slice of an operand is read or written, the slice is counted. Arrays that the compiler
has put into a chip's on-chip memory are not counted.
"""

import math

from jaxssl.planning.program_text import Computation, Instruction, Program

# Opcodes that move nothing
FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "while",
    "conditional", "call", "partition-id", "replica-id", "opt-barrier", "domain", "add-dependency",
}  # fmt: skip
SLICES = {"dynamic-slice", "slice", "gather"}  # they read as much as they return
# Inside a fusion, these read only what their own user reads
PASSING = {"bitcast", "convert", "copy", "reshape", "transpose"}


def memory_traffic(program: Program) -> float:
    """Returns the bytes that one device reads and writes in one call of `program`."""
    total = 0.0
    for name in program.steps:
        computation = program.computations[name]
        for instruction in computation.instructions.values():
            if not is_free(instruction):
                total += program.times[name] * moved(instruction, computation, program)
    return total


def is_free(instruction: Instruction) -> bool:
    """Returns whether an `instruction` moves nothing."""
    if instruction.opcode == "custom-call":
        return "AllocateBuffer" in instruction.rest
    return instruction.opcode in FREE or instruction.opcode.endswith("-done")


def moved(instruction: Instruction, computation: Computation, program: Program) -> float:
    """Returns the bytes that one run of an instruction reads and writes.

    Args:
      instruction: The instruction.
      computation: The computation that it belongs to.
      program: The compiled program.
    """
    operands = [_slow_bytes(computation, name) for name in instruction.operands]
    opcode, written = instruction.opcode, _slow(instruction)
    if opcode == "fusion" and (inner := _inner(instruction, program)) is not None:
        reads = zip(operands, range(len(operands)), strict=True)
        read = sum(min(whole, _part_read(inner, i, program)) for whole, i in reads if whole)
        return read + _written_by_fusion(instruction, inner)
    if opcode in SLICES:
        return 2 * written
    if opcode == "dynamic-update-slice":
        return 2 * (operands[1] if len(operands) > 1 else 0)
    if opcode.endswith("-start"):  # the result contains the operand once more
        new = max(written - sum(operands), 0)
        whole = sum(shape.bytes for shape in instruction.shapes) - sum(operands)
        return new + (min(whole, sum(operands)) if "slice" in opcode else sum(operands))
    return sum(operands) + written


def _inner(fusion: Instruction, program: Program) -> Computation | None:
    """Returns the computation of a fusion, or None."""
    return next((program.computations[name] for name in fusion.called()), None)


def _part_read(inner: Computation, number: int, program: Program) -> float:
    """Returns the bytes that a fusion reads of its operand `number`; infinity if it reads all of it."""
    found = (i for i in inner.instructions.values() if i.opcode == "parameter")
    names = [i.name for i in found if i.rest.startswith(f"{number})")]
    total, seen = 0.0, set(names)
    while names:
        name = names.pop()
        for user in inner.instructions.values():
            if name not in user.operands or user.name in seen:
                continue
            if user.opcode in SLICES and user.operands[0] == name:
                total += user.bytes
            elif user.opcode in PASSING:
                seen.add(user.name)
                names.append(user.name)
            elif user.opcode == "fusion" and (nested := _inner(user, program)) is not None:
                total += _part_read(nested, user.operands.index(name), program)
            elif user.opcode != "dynamic-update-slice" or user.operands[0] != name:
                return math.inf
    return total


def _written_by_fusion(fusion: Instruction, inner: Computation) -> float:
    """Returns the bytes of the result; of an array that is updated in place, only the new part."""
    total = _slow(fusion)
    for update in inner.instructions.values():
        is_update = update.opcode == "dynamic-update-slice" and len(update.operands) > 1
        if is_update and any(s.sizes == update.shapes[0].sizes for s in fusion.shapes):
            new = inner.instructions.get(update.operands[1])
            total -= update.bytes - (new.bytes if new else 0)
    return max(total, 0.0)


def _slow_bytes(computation: Computation, name: str) -> int:
    """Returns the bytes of an operand that are not in on-chip memory."""
    instruction = computation.instructions.get(name)
    return 0 if instruction is None else _slow(instruction)


def _slow(instruction: Instruction) -> int:
    """Returns the bytes of a result that are not in on-chip memory."""
    return sum(shape.bytes for shape in instruction.shapes if not shape.fast)
