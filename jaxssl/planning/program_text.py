"""Reads a compiled program: its computations, and how often each of them runs in one call.

XLA prints an optimised program (`compiled.as_text()`) as computations of instructions:

    %body.7 (param: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
      %dot.3 = f32[8,4]{1,0} dot(%a, %b), lhs_contracting_dims={1}, …
      ROOT %tuple.9 = (s32[], f32[8,4]) tuple(%i, %dot.3)
    }

Shapes are those of one device. The body of a loop is printed once: what it does counts as often as
the loop goes round.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

BITS = {"pred": 8, "token": 0, "opaque": 0}  # of one element; the other types end with theirs
HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$")
SHAPE = re.compile(r"([a-z][a-z0-9]*)\[([\d,]*)\](\{[^{}]*\})?")
CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)"
)
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
TRIPS = re.compile(r'known_trip_count"?:?\s*\{"?n"?:"?(\d+)')
OPERAND = re.compile(r"%([\w.\-]+)")
CONTROL = {"while", "conditional", "call", "async-start"}  # they run computations step by step
CONSTANT = re.compile(r"^(\d+)\)")


class Shape(NamedTuple):
    """One array of one device."""

    kind: str
    sizes: tuple[int, ...]
    fast: (
        bool  # lies in the chip's own memory (a memory space of its own in the layout), not in HBM
    )

    @property
    def bytes(self) -> int:
        return math.prod(self.sizes) * bits(self.kind) // 8


@dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    opcode: str
    shapes: tuple[Shape, ...]  # of the result; several where it is a tuple
    operands: tuple[str, ...]  # names
    rest: str  # attributes, as printed

    @property
    def bytes(self) -> int:
        return sum(shape.bytes for shape in self.shapes)

    def called(self) -> list[str]:
        """Names of the computations that it runs."""
        names = CALLED.findall(self.rest)
        for listed in BRANCHES.findall(self.rest):
            names += [name.strip().lstrip("%") for name in listed.split(",")]
        return names


@dataclass
class Computation:
    """A function of the program; `instructions` are in the order in which they run."""

    name: str
    instructions: dict[str, Instruction] = field(default_factory=dict)

    def operand_bytes(self, instruction: Instruction) -> int:
        known = (self.instructions.get(name) for name in instruction.operands)
        return sum(operand.bytes for operand in known if operand is not None)


@dataclass(frozen=True)
class Program:
    """All computations, and how often each runs in one call of the program."""

    computations: dict[str, Computation]
    times: dict[str, int]
    steps: frozenset[str]  # computations whose instructions run one by one: not those of a fusion

    def walk(self) -> Iterator[tuple[Computation, Instruction, int]]:
        """Every instruction that runs, with its computation and how often it runs."""
        for name, times in self.times.items():
            for instruction in self.computations[name].instructions.values():
                yield self.computations[name], instruction, times


def read_program(text: str) -> Program:
    """Parses `compiled.as_text()`. Raises ValueError for a text without an entry computation."""
    computations: dict[str, Computation] = {}
    entry, current = None, Computation("")
    for line in text.splitlines():
        if (header := HEADER.match(line)) and " = " not in line.split("(", 1)[0]:
            current = computations.setdefault(header[2], Computation(header[2]))
            entry = header[2] if header[1] else entry
        elif found := INSTRUCTION.match(line):
            current.instructions[found[1]] = _instruction(*found.groups())
    if entry is None:
        raise ValueError("the text is no optimised program: it has no ENTRY computation")
    times = _times(computations, entry)
    return Program(computations, times, frozenset(_steps(computations, entry)))


def shapes_of(text: str) -> tuple[Shape, ...]:
    """The arrays of a printed type, e.g. `(f32[8,4]{1,0}, s32[])`."""
    return tuple(
        Shape(kind, tuple(int(size) for size in sizes.split(",") if size), "S(" in layout)
        for kind, sizes, layout in SHAPE.findall(text)
        if kind in BITS or kind[-1].isdigit() or kind.startswith("f8")
    )


def bits(kind: str) -> int:
    """Of one element: f32 32, bf16 16, s4 4, f8e4m3fn 8, pred 8."""
    if kind in BITS:
        return BITS[kind]
    digits = re.match(r"[a-z]+(\d+)", kind)
    if digits is None:
        raise ValueError(f"{kind} is no element type")
    return int(digits[1])


def _instruction(name: str, kind: str, opcode: str, rest: str) -> Instruction:
    depth, end = 1, len(rest)
    for place, letter in enumerate(rest):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            end = place
            break
    operands = tuple(OPERAND.findall(rest[:end]))
    return Instruction(name, opcode, shapes_of(kind), operands, rest)


def _times(computations: dict[str, Computation], entry: str) -> dict[str, int]:
    """How often each computation runs: callers before those that they call."""
    times = {entry: 1}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        for instruction in computations[name].instructions.values():
            trips = _trips(instruction, computations) if instruction.opcode == "while" else 1
            for called in instruction.called():
                count = times[name] * trips
                if called in computations and times.get(called, 0) < count:
                    times[called] = count
                    waiting.append(called)
    return times


def _steps(computations: dict[str, Computation], entry: str) -> set[str]:
    steps, waiting = {entry}, [entry]
    while waiting:
        for instruction in computations[waiting.pop()].instructions.values():
            if instruction.opcode in CONTROL:
                new = {name for name in instruction.called() if name in computations} - steps
                steps |= new
                waiting += new
    return steps


def _trips(loop: Instruction, computations: dict[str, Computation]) -> int:
    """How often a loop goes round: as XLA found, or the constant that its condition compares with."""
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
