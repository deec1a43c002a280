"""Finds the collectives of a compiled program: their bytes, their devices, and whether they are overlapped.

TPU compilers print one collective many times, as steps inside other fusions; those with the same channel
are counted once. (Outside of fusions, the channel does not identify a collective: all that `shard_map`
created may have the same one.)

Bytes are those that one device sends in one call of the program, if a group of n devices forms a ring:

    all-gather, reduce-scatter, all-to-all    (n - 1) / n of the array
    all-reduce                                twice that: a reduce-scatter and an all-gather
    collective-permute                        the whole array

References:
  Thakur, Rabenseifner & Gropp 2005, "Optimization of collective communication operations in MPICH",
  section 4.
"""

import re
from dataclasses import dataclass

import numpy as np

from jaxssl.planning.program_text import Computation, Instruction, Program

# Opcodes of the collectives, and of instructions that do work which can hide them
KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
COMPUTE = {"fusion", "dot", "convolution", "custom-call", "while", "conditional", "call", "sort"}
# Custom calls and fusions that stand for a collective or announce one, and compute nothing
WAITING = re.compile(r'custom_call_target="PrepareAsync|calls=%?all-reduce-scatter')
CHANNEL = re.compile(r"channel_id=(\d+)")
SCATTER = "all-reduce-scatter"  # name of a fusion in which TPU programs have a reduce-scatter
MESH = re.compile(
    r"replica_groups=mesh\[([^\]]*)\](?:,\s*device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))?\s*\{([^}]*)\}"
)
IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
LISTED = re.compile(r"replica_groups=\{(\{[\d,]+\}(?:,\s*\{[\d,]+\})*)\}")
PAIRS = re.compile(r"source_target_pairs=\{(\{\d+,\d+\}(?:,\s*\{\d+,\d+\})*)\}")


@dataclass(frozen=True)
class Collective:
    """One exchange of data between devices."""

    kind: str
    """Opcode, one of `KINDS`."""
    times: int
    """Number of runs per step."""
    array: int
    """Bytes of the whole array on one device: before a scatter, or after a gather."""
    group: tuple[int, ...]
    """Devices of the first of its groups, as positions in the flattened mesh."""
    rows: int
    """Product of all sizes but the last of its result; of the largest result if there are several."""
    is_overlapped: bool
    """Whether the device does other work between its start and its end."""

    @property
    def sent(self) -> float:
        """Returns the bytes that a device sends in a step."""
        n = max(len(self.group), 1)
        share = {"all-reduce": 2 * (n - 1) / n, "collective-permute": 1.0}.get(
            self.kind, (n - 1) / n
        )
        return self.times * self.array * share


@dataclass(frozen=True)
class Total:
    """The collectives of one kind in a step."""

    kind: str
    """Opcode, one of `KINDS`."""
    count: int
    """Number of different collectives in the program."""
    runs: int
    """Number of runs per step; those inside loops count as often as they run."""
    sent: float
    """Bytes that a device sends per step."""
    overlapped: int
    """How many of `count` are overlapped with other work."""
    sent_overlapped: float
    """How many of the bytes `sent` belong to collectives that are overlapped with other work."""


def totals(collectives: list[Collective]) -> list[Total]:
    """Sums up `collectives` by kind; kinds that do not occur are left out."""
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
                    sent_overlapped=sum(c.sent for c in these if c.is_overlapped),
                )
            )
    return found


def overlapped_share(sums: list[Total]) -> float | None:
    """Returns the share of the bytes of `sums` that overlap other work; None where nothing is sent."""
    sent = sum(total.sent for total in sums)
    return sum(total.sent_overlapped for total in sums) / sent if sent else None


def collectives_of(program: Program, devices: int) -> list[Collective]:
    """Finds the collectives of a program, each channel once.

    Args:
      program: The compiled program.
      devices: Number of devices of the mesh, which are the group of a collective that names none.

    Returns:
      The collectives whose groups have more than one device.
    """
    hidden, once = overlapped(program), printed_once(program)
    found: dict[tuple[str, ...], Collective] = {}
    for computation, instruction, times in program.walk():
        kind = kind_of(instruction, computation)
        if kind is None:
            continue
        channel = _channel(instruction)
        is_alone = computation.name in once
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


def printed_once(program: Program) -> set[str]:
    """Returns the names of the computations in which each instruction is a collective of its own.

    They are those that run one by one, those that a `call-start` runs on the sparse cores of a TPU, and the
    reduce-scatters of a TPU: where layers are not in a loop, those of all layers have one channel.

    Args:
      program: The compiled program.
    """
    steps = [program.computations[name].instructions.values() for name in program.steps]
    calls = (each for step in steps for each in step if each.opcode in ("call-start", "fusion"))
    found = {(call.opcode, name) for call in calls for name in call.called()}
    alone = {name for opcode, name in found if opcode == "call-start" or SCATTER in name}
    return {*program.steps, *alone}


def kind_of(instruction: Instruction, computation: Computation) -> str | None:
    """Returns the kind of collective of an instruction.

    Args:
      instruction: The instruction.
      computation: The computation that contains it.

    Returns:
      One of `KINDS`; None for other instructions, and for the end of an asynchronous collective.
    """
    kind = instruction.opcode.removesuffix("-start")
    if kind not in KINDS:
        return None
    is_scatter = kind == "all-reduce" and SCATTER in computation.name
    return "reduce-scatter" if is_scatter else kind


def group_of(text: str, devices: int) -> tuple[int, ...]:
    """Reads the devices of a collective's first group.

    Args:
      text: Attributes of the instruction, in any of the four ways in which XLA prints groups.
      devices: Number of devices of the mesh, which are the group if the text names none.

    Returns:
      Positions of the devices in the flattened mesh.
    """
    everyone = tuple(range(devices))
    if found := MESH.search(text):
        return _mesh_group(found[1], found[2], found[3], found[4])
    if found := IOTA.search(text):
        groups, sizes, order = (_numbers(part) for part in found.groups(""))
        return tuple(int(device) for device in _grid(sizes, order).reshape(groups)[0])
    if found := LISTED.search(text):
        return tuple(_numbers(found[1].split("}")[0].lstrip("{")))
    if found := PAIRS.search(text):
        pairs = re.findall(r"\{(\d+),(\d+)\}", found[1])
        moved = [(int(a), int(b)) for a, b in pairs if a != b]
        return moved[0] if moved else (0,)
    return everyone


def _mesh_group(axes: str, ids: str | None, order: str | None, taken: str) -> tuple[int, ...]:
    """Returns the devices that differ only in the axes `taken` of the mesh `axes`, as `'a'=2,'b'=4`.

    `ids` and `order` describe the order of the devices in the mesh, if it is not the usual one.
    """
    sizes = {name: int(size) for name, size in (part.split("=") for part in axes.split(","))}
    grid = (
        _grid(_numbers(ids or ""), _numbers(order or ""))
        if ids
        else np.arange(np.prod(list(sizes.values()), dtype=int))
    )
    names = {name.strip() for name in taken.split(",")}
    first = tuple(slice(None) if name in names else 0 for name in sizes)
    return tuple(int(device) for device in grid.reshape(list(sizes.values()))[first].reshape(-1))


def _grid(sizes: list[int], order: list[int]) -> np.ndarray:
    """Numbers of devices in the shape `sizes`, its axes transposed by `order` if that is not empty."""
    grid = np.arange(np.prod(sizes, dtype=int)).reshape(sizes)
    return grid.transpose(order) if order else grid


def overlapped(program: Program) -> set[str]:
    """Finds the collectives between whose start and end the device does other work.

    Args:
      program: The compiled program.

    Returns:
      Their names; for collectives that start inside a fusion, their channels.
    """
    hidden: set[str] = set()
    once = printed_once(program)
    for name in program.steps:
        open_starts: dict[str, bool] = {}  # name of a start -> whether work came after it
        instructions = program.computations[name].instructions
        for instruction in instructions.values():
            if _is_start(instruction):
                open_starts[instruction.name] = False
            elif start := _started_by(instruction, open_starts):
                if open_starts.pop(start):
                    hidden |= _started(instructions[start], program, once)
            elif instruction.opcode in COMPUTE and not WAITING.search(instruction.rest):
                open_starts = dict.fromkeys(open_starts, True)
    return hidden


def _is_start(instruction: Instruction) -> bool:
    """Returns whether an instruction starts an asynchronous collective.

    A `call-start` runs it on the sparse cores of a TPU.
    """
    kind = instruction.opcode.removesuffix("-start")
    return (kind != instruction.opcode and kind in (*KINDS, "async", "call")) or (
        instruction.opcode == "fusion" and "collective-start" in instruction.name
    )


def _started_by(instruction: Instruction, open_starts: dict[str, bool]) -> str | None:
    """Returns the name of the start to which this instruction is the end, or None."""
    if "-done" not in instruction.opcode and "collective-done" not in instruction.name:
        return None
    for operand in instruction.operands:
        if operand in open_starts:
            return operand
    name = instruction.name.replace("-done", "-start")  # the numbers of a pair are the same
    return name if name in open_starts else None


def _started(start: Instruction, program: Program, once: set[str]) -> set[str]:
    """Returns the names or channels of the collectives that a start begins; `once` as `printed_once`."""
    if start.opcode.removesuffix("-start") in KINDS:
        return {start.name}
    waiting, channels = start.called(), set()
    while waiting:
        computation = program.computations.get(waiting.pop())
        for instruction in computation.instructions.values() if computation else ():
            if kind_of(instruction, computation or Computation("")):
                is_alone = computation is not None and computation.name in once
                channels.add(instruction.name if is_alone else _channel(instruction))
            waiting += instruction.called()
    return channels


def _channel(instruction: Instruction) -> str:
    """Returns the number of an instruction's channel; its name if it has none."""
    number = CHANNEL.search(instruction.rest)
    return number[1] if number else instruction.name


def _numbers(text: str) -> list[int]:
    """Reads numbers with commas between them."""
    return [int(number) for number in text.split(",") if number]
