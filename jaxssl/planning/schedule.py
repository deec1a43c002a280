"""Writes the schedule of a compiled step as a trace, which Perfetto and Chrome's tracing page show.

Operations run one after another, each for its estimated cycles; loops are written out. Collectives and
asynchronous copies are shown from their start to their end on a second row, whatever runs beside them.
"""

from pathlib import Path
from typing import Any

from jaxssl.data.stores.json_files import write_json
from jaxssl.planning.forecast import estimated
from jaxssl.planning.kernels import read_kernel
from jaxssl.planning.program_text import Computation, Instruction, Program, trips_of
from jaxssl.planning.source_lines import SourceLines
from jaxssl.training.chips import Chip

MOST_EVENTS = 200_000  # a viewer takes a few hundred thousand; further loop iterations are left out
COMPUTE, TRANSFERS = 1, 2  # rows of the trace


class Schedule:
    """The events of a step, with times in microseconds.

    Args:
      program: The compiled step.
      lines: The source lines of the same program.
      chip: The chip that it was compiled for; its clock turns cycles into time.
    """

    def __init__(self, program: Program, lines: SourceLines, chip: Chip):
        self.program = program
        self.chip = chip
        self.known = {operation.name: operation for operation in estimated(program, lines, chip)}
        self.events: list[dict[str, Any]] = []
        self.now = 0.0
        self._started: dict[str, float] = {}

    def run(self, computation: Computation) -> None:
        """Appends the events of one run of `computation`, and moves the time on."""
        for instruction in computation.instructions.values():
            if instruction.opcode in ("while", "call", "conditional"):
                self._run_called(instruction)
            elif instruction.opcode.endswith("-start"):
                self._started[instruction.name] = self.now
            elif instruction.opcode.endswith("-done"):
                self._finish(instruction)
            else:
                self._append(instruction)

    def _run_called(self, instruction: Instruction) -> None:
        trips = trips_of(instruction, self.program.computations)
        bodies = [self.program.computations[name] for name in instruction.called()]
        began, before = self.now, len(self.events)
        for done in range(1, trips + 1):
            for body in bodies:
                self.run(body)
            if done < trips and len(self.events) > MOST_EVENTS:
                self.now += (self.now - began) / done * (trips - done)
                break
        if len(self.events) > before:
            self._event(
                f"{instruction.opcode} x {trips}", COMPUTE, began, {"name": instruction.name}
            )

    def _finish(self, instruction: Instruction) -> None:
        for name in instruction.operands:
            if name in self._started:
                label = instruction.opcode.removesuffix("-done")
                self._event(label, TRANSFERS, self._started.pop(name), {"name": name})

    def _append(self, instruction: Instruction) -> None:
        operation = self.known.get(instruction.name)
        if operation is None and (kernel := read_kernel(instruction)) is not None:
            began, cycles = self.now, kernel.cycles(self.chip)
            label, details = kernel.name, {"name": instruction.name}
        elif operation is not None:
            began, cycles = self.now, float(operation.cycles)
            label = operation.part
            details = {
                "name": operation.name,
                "source": operation.source,
                "opcode": operation.opcode,
            }
        else:
            return
        self.now += cycles / self.chip.clock * 1e6
        self._event(label, COMPUTE, began, details)

    def _event(self, label: str, row: int, began: float, details: dict[str, Any]) -> None:
        event = {"ph": "X", "pid": 1, "tid": row, "name": label, "args": details}
        self.events.append({**event, "ts": began, "dur": self.now - began})


def write_trace(file: str | Path, program: Program, lines: SourceLines, chip: Chip | None) -> bool:
    """Writes the schedule of a step in the format of Chrome's trace viewer.

    Args:
      file: File to write; its folder is made.
      program: The compiled step.
      lines: The source lines of the same program.
      chip: The chip that it was compiled for; None for CPUs, which have no schedule.

    Returns:
      Whether the file was written: only programs for TPUs whose clock is known have times.
    """
    if chip is None or not chip.clock:
        return False
    schedule = Schedule(program, lines, chip)
    schedule.run(program.computations[program.entry])
    names = [(COMPUTE, "operations"), (TRANSFERS, "copies and collectives")]
    rows = [
        {"ph": "M", "pid": 1, "tid": row, "name": "thread_name", "args": {"name": name}}
        for row, name in names
    ]
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        path, {"traceEvents": [*rows, *schedule.events], "displayTimeUnit": "ns"}, indent=None
    )
    return True
