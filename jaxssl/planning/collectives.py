"""The collectives of a compiled program: what they move, between which devices, and what hides them.

TPU compilers print one collective many times, as steps inside other fusions: of these, those with the
same channel are counted once. (Outside of fusions channels do not tell: those that `shard_map` wrote
may all have the same.) Bytes are what one device sends in one call of the program, in
rings over the n devices of a group: (n-1)/n of the array for all-gather, reduce-scatter and
all-to-all, twice that for all-reduce (a reduce-scatter and an all-gather), all of it for a permute
(Thakur, Rabenseifner & Gropp 2005, section 4).
"""

import re
from dataclasses import dataclass

import numpy as np

from jaxssl.planning.program_text import Computation, Instruction, Program

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
COMPUTE = {"fusion", "dot", "convolution", "custom-call", "while", "conditional", "call", "sort"}
CHANNEL = re.compile(r"channel_id=(\d+)")
MESH = re.compile(
    r"replica_groups=mesh\[([^\]]*)\](?:,\s*device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))?\s*\{([^}]*)\}"
)
IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
LISTED = re.compile(r"replica_groups=\{(\{[\d,]+\}(?:,\s*\{[\d,]+\})*)\}")
PAIRS = re.compile(r"source_target_pairs=\{(\{\d+,\d+\}(?:,\s*\{\d+,\d+\})*)\}")


@dataclass(frozen=True)
class Collective:
    """One exchange between devices."""

    kind: str  # one of KINDS
    times: int  # how often it runs in a step
    array: int  # bytes of the whole array on one device, before a scatter or after a gather
    group: tuple[int, ...]  # the first of its groups, as places in the mesh
    rows: int  # product of all sizes but the last, of the largest array that it gives
    is_overlapped: bool  # starts before other work and is waited for after it

    @property
    def sent(self) -> float:
        """Bytes that a device sends in a step."""
        n = max(len(self.group), 1)
        share = {"all-reduce": 2 * (n - 1) / n, "collective-permute": 1.0}.get(
            self.kind, (n - 1) / n
        )
        return self.times * self.array * share


@dataclass(frozen=True)
class Total:
    """All collectives of one kind in a step."""

    kind: str
    count: int  # unique ones in the program
    runs: int  # with those inside loops as often as they run
    sent: float  # bytes of a device
    overlapped: int  # of `count`


def totals(collectives: list[Collective]) -> list[Total]:
    """By kind, those that occur."""
    found = []
    for kind in KINDS:
        these = [c for c in collectives if c.kind == kind]
        if these:
            found.append(
                Total(
                    kind=kind,
                    count=len(these),
                    runs=sum(c.times for c in these),
                    sent=sum(c.sent for c in these),
                    overlapped=sum(c.is_overlapped for c in these),
                )
            )
    return found


def collectives_of(program: Program, devices: int) -> list[Collective]:
    """The collectives that move something, each channel once.

    `devices` is the size of the mesh: the group of a collective that names none.
    """
    hidden = overlapped(program)
    found: dict[tuple[str, ...], Collective] = {}
    for computation, instruction, times in program.walk():
        kind = kind_of(instruction, computation)
        if kind is None:
            continue
        channel = _channel(instruction)
        is_alone = computation.name in program.steps
        key = (computation.name, instruction.name) if is_alone else (channel, kind)
        before = found.get(key)
        if before is not None and before.times >= times:
            continue
        group = group_of(instruction.rest, devices)
        array = computation.operand_bytes(instruction)
        if kind == "all-gather":
            array *= len(group)
        found[key] = Collective(
            kind=kind,
            times=times,
            array=array,
            group=group,
            rows=max((int(np.prod(s.sizes[:-1])) for s in instruction.shapes), default=0),
            is_overlapped=(instruction.name if is_alone else channel) in hidden,
        )
    return [collective for collective in found.values() if len(collective.group) > 1]


def kind_of(instruction: Instruction, computation: Computation) -> str | None:
    """Which collective an instruction is; None for all others, and for the end of one."""
    kind = instruction.opcode.removesuffix("-start")
    if kind not in KINDS:
        return None
    # TPU programs write a reduce-scatter as an all-reduce inside a fusion of this name.
    is_scatter = kind == "all-reduce" and "all-reduce-scatter" in computation.name
    return "reduce-scatter" if is_scatter else kind


def group_of(text: str, devices: int) -> tuple[int, ...]:
    """The devices of the first group, from any of the four ways in which XLA prints them."""
    everyone = tuple(range(devices))
    if found := MESH.search(text):
        return _mesh_group(found[1], found[2], found[3], found[4])
    if found := IOTA.search(text):
        groups, sizes, order = (_numbers(part) for part in found.groups(""))
        return tuple(int(place) for place in _grid(sizes, order).reshape(groups)[0])
    if found := LISTED.search(text):
        return tuple(_numbers(found[1].split("}")[0].lstrip("{")))
    if found := PAIRS.search(text):
        pairs = re.findall(r"\{(\d+),(\d+)\}", found[1])
        moved = [(int(a), int(b)) for a, b in pairs if a != b]
        return moved[0] if moved else (0,)
    return everyone


def _mesh_group(axes: str, ids: str | None, order: str | None, taken: str) -> tuple[int, ...]:
    """Devices that differ in the axes `taken` only, of `'a'=2,'b'=4`; ids in another order if given."""
    sizes = {name: int(size) for name, size in (part.split("=") for part in axes.split(","))}
    grid = (
        _grid(_numbers(ids or ""), _numbers(order or ""))
        if ids
        else np.arange(np.prod(list(sizes.values()), dtype=int))
    )
    names = {name.strip() for name in taken.split(",")}
    first = tuple(slice(None) if name in names else 0 for name in sizes)
    return tuple(int(place) for place in grid.reshape(list(sizes.values()))[first].reshape(-1))


def _grid(sizes: list[int], order: list[int]) -> np.ndarray:
    grid = np.arange(np.prod(sizes, dtype=int)).reshape(sizes)
    return grid.transpose(order) if order else grid


def overlapped(program: Program) -> set[str]:
    """Collectives between whose start and end the device does something else.

    Their names, or their channels where they start inside a fusion.
    """
    hidden: set[str] = set()
    for name in program.steps:
        open_starts: dict[str, bool] = {}  # name of a start -> whether work has been seen since
        instructions = program.computations[name].instructions
        for instruction in instructions.values():
            if _is_start(instruction):
                open_starts[instruction.name] = False
            elif start := _started_by(instruction, open_starts):
                if open_starts.pop(start):
                    hidden |= _started(instructions[start], program)
            elif instruction.opcode in COMPUTE:
                open_starts = dict.fromkeys(open_starts, True)
    return hidden


def _is_start(instruction: Instruction) -> bool:
    kind = instruction.opcode.removesuffix("-start")
    return (kind != instruction.opcode and kind in (*KINDS, "async")) or (
        instruction.opcode == "fusion" and "collective-start" in instruction.name
    )


def _started_by(instruction: Instruction, open_starts: dict[str, bool]) -> str | None:
    """The start whose end this instruction is."""
    if "-done" not in instruction.opcode and "collective-done" not in instruction.name:
        return None
    for operand in instruction.operands:
        if operand in open_starts:
            return operand
    name = instruction.name.replace("-done", "-start")  # the numbers of a pair are the same
    return name if name in open_starts else None


def _started(start: Instruction, program: Program) -> set[str]:
    if start.opcode.removesuffix("-start") in KINDS:
        return {start.name}
    waiting, channels = start.called(), set()
    while waiting:
        computation = program.computations.get(waiting.pop())
        for instruction in computation.instructions.values() if computation else ():
            if kind_of(instruction, computation or Computation("")):
                is_alone = computation is not None and computation.name in program.steps
                channels.add(instruction.name if is_alone else _channel(instruction))
            waiting += instruction.called()
    return channels


def _channel(instruction: Instruction) -> str:
    number = CHANNEL.search(instruction.rest)
    return number[1] if number else instruction.name


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]
