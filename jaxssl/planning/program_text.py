"""Parses a compiled program: its computations, and how often each of them runs in one call.

XLA prints an optimised program (`compiled.as_text()`) as computations that consist of instructions:

    %body.7 (param: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
      %dot.3 = f32[8,4]{1,0} dot(%a, %b), lhs_contracting_dims={1}, …
      ROOT %tuple.9 = (s32[], f32[8,4]) tuple(%i, %dot.3)
    }

Shapes are those of one device. The body of a loop is printed once, but counts once per iteration.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

BITS = {
    "pred": 8,
    "token": 0,
    "opaque": 0,
}  # per element; the names of other types end with the number
HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$")
SHAPE = re.compile(r"([a-z][a-z0-9]*)\[([\d,]*)\](\{[^{}]*\})?")
CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)"
)
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
TRIPS = re.compile(r'known_trip_count"?:?\s*\{"?n"?:"?(\d+)')
OPERAND = re.compile(r"%([\w.\-]+)")
CONTROL = {
    "while",
    "conditional",
    "call",
    "async-start",
}  # they run the instructions of other computations one by one
CONSTANT = re.compile(r"^(\d+)\)")
BROKEN_LINE = re.compile(r"kernel_metadata=\{\n(.*)\n\}")  # XLA breaks the line of a Pallas kernel


class Shape(NamedTuple):
    """Type and shape of one array of one device."""

    kind: str
    """XLA's name of the element type, such as "f32" or "bf16"."""
    sizes: tuple[int, ...]
    """Sizes of the axes."""
    fast: bool
    """Whether the array is in the chip's on-chip memory (the layout names a memory space), not in HBM."""

    @property
    def bytes(self) -> int:
        """Returns the size of the array in bytes."""
        return math.prod(self.sizes) * bits(self.kind) // 8


@dataclass(frozen=True)
class Instruction:
    """One instruction: a line of a computation."""

    name: str
    """Name, unique in the program."""
    opcode: str
    """Operation, such as "dot" or "all-gather-start"."""
    shapes: tuple[Shape, ...]
    """Shapes of the result; several if it is a tuple."""
    operands: tuple[str, ...]
    """Names of the operands."""
    rest: str
    """Operands and attributes, as printed after the opcode."""

    @property
    def bytes(self) -> int:
        """Returns the size of the result in bytes."""
        return sum(shape.bytes for shape in self.shapes)

    def called(self) -> list[str]:
        """Returns the names of the computations that the instruction runs."""
        names = CALLED.findall(self.rest)
        for listed in BRANCHES.findall(self.rest):
            names += [name.strip().lstrip("%") for name in listed.split(",")]
        return names


@dataclass
class Computation:
    """A function of the program."""

    name: str
    """Name, unique in the program."""
    instructions: dict[str, Instruction] = field(default_factory=dict)
    """The instructions by their names, in the order in which they run."""

    def operand_bytes(self, instruction: Instruction) -> int:
        """Returns the size in bytes of all operands of an `instruction` of this computation."""
        known = (self.instructions.get(name) for name in instruction.operands)
        return sum(operand.bytes for operand in known if operand is not None)


@dataclass(frozen=True)
class Program:
    """A parsed program."""

    computations: dict[str, Computation]
    """The computations by their names."""
    times: dict[str, int]
    """Number of runs of each computation in one call of the program."""
    steps: frozenset[str]
    """Names of the computations whose instructions run one by one, unlike those inside a fusion."""
    entry: str
    """Name of the computation that the program begins with."""

    def walk(self) -> Iterator[tuple[Computation, Instruction, int]]:
        """Yields each instruction that runs, with its computation and the number of its runs."""
        for name, times in self.times.items():
            for instruction in self.computations[name].instructions.values():
                yield self.computations[name], instruction, times


def read_program(text: str) -> Program:
    """Parses a program.

    Args:
      text: The program, as `compiled.as_text()` returns it.

    Returns:
      The program.

    Raises:
      ValueError: The text has no entry computation.
    """
    computations: dict[str, Computation] = {}
    entry, current = None, Computation("")
    for line in BROKEN_LINE.sub(r"kernel_metadata={\1}", text).split("\n"):
        if (header := HEADER.match(line)) and " = " not in line.split("(", 1)[0]:
            current = computations.setdefault(header[2], Computation(header[2]))
            entry = header[2] if header[1] else entry
        elif found := INSTRUCTION.match(line):
            current.instructions[found[1]] = _instruction(*found.groups())
    if entry is None:
        raise ValueError("the text is not an optimised program: it has no ENTRY computation")
    times = _times(computations, entry)
    return Program(computations, times, frozenset(_steps(computations, entry)), entry)


def shapes_of(text: str) -> tuple[Shape, ...]:
    """Parses the shapes in `text`, a printed type such as `(f32[8,4]{1,0}, s32[])`."""
    return tuple(
        Shape(kind, tuple(int(size) for size in sizes.split(",") if size), "S(" in layout)
        for kind, sizes, layout in SHAPE.findall(text)
        if kind in BITS or kind[-1].isdigit() or kind.startswith("f8")
    )


def bits(kind: str) -> int:
    """Returns the bits of one element of type `kind`: 32 for f32, 16 for bf16, 8 for f8e4m3fn and pred.

    Raises:
      ValueError: The name is not that of an element type.
    """
    if kind in BITS:
        return BITS[kind]
    digits = re.match(r"[a-z]+(\d+)", kind)
    if digits is None:
        raise ValueError(f"{kind} is not an element type")
    return int(digits[1])


def _instruction(name: str, kind: str, opcode: str, rest: str) -> Instruction:
    """Builds an instruction; its operands are the names before the closing parenthesis."""
    depth, end = 1, len(rest)
    for position, letter in enumerate(rest):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            end = position
            break
    operands = tuple(OPERAND.findall(rest[:end]))
    return Instruction(name, opcode, shapes_of(kind), operands, rest)


def _times(computations: dict[str, Computation], entry: str) -> dict[str, int]:
    """Returns how often each computation runs, following the calls from the entry."""
    times = {entry: 1}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        for instruction in computations[name].instructions.values():
            trips = trips_of(instruction, computations)
            for called in instruction.called():
                count = times[name] * trips
                if called in computations and times.get(called, 0) < count:
                    times[called] = count
                    waiting.append(called)
    return times


def _steps(computations: dict[str, Computation], entry: str) -> set[str]:
    """Returns the names of the computations whose instructions run one by one."""
    steps, waiting = {entry}, [entry]
    while waiting:
        for instruction in computations[waiting.pop()].instructions.values():
            if instruction.opcode in CONTROL:
                new = {name for name in instruction.called() if name in computations} - steps
                steps |= new
                waiting += new
    return steps


def trips_of(loop: Instruction, computations: dict[str, Computation]) -> int:
    """Returns the iterations of a loop: as XLA found, or the constant in its condition; 1 if unknown.

    Args:
      loop: A `while` instruction; any other one runs once.
      computations: The computations of the program by their names.
    """
    if loop.opcode != "while":
        return 1
    if known := TRIPS.search(loop.rest):
        return int(known[1])
    condition = re.search(r"condition=%?([\w.\-]+)", loop.rest)
    limits = []
    if condition and condition[1] in computations:
        for instruction in computations[condition[1]].instructions.values():
            number = CONSTANT.match(instruction.rest)
            if instruction.opcode == "constant" and number:
                limits.append(int(number[1]))
    return max(limits, default=1)
