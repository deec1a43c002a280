"""Traces some steps of a run with JAX's profiler: `--profile 20:25`."""

import re
from pathlib import Path
from typing import Any

import jax

from jaxssl.errors import InputError
from jaxssl.runs.hosts import print_once

FOLDER = "profile"  # below the folder of the run


class Profile:
    """Writes a trace of the steps START to STOP - 1; for a `with` around the loop."""

    def __init__(self, steps: str, folder: Path):
        """Nothing is traced before the step.

        Args:
          steps: "START:STOP", counted from 0; "" for no trace.
          folder: Folder of the run on this machine.

        Raises:
          InputError: `steps` is no such range.
        """
        self.range = steps_of(steps) if steps and jax.process_index() == 0 else range(0)
        self.folder, self.running = folder / FOLDER, False

    def at(self, step: int, state: Any) -> None:
        """Begins or ends the trace before step number `step`, when all work on `state` is done."""
        if self.running == (step in self.range):
            return
        jax.block_until_ready(state)
        if self.running:
            self._stop()
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(self.folder, create_perfetto_trace=True)
            self.running = True

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self.running = False
        print_once(how_to_open(self.folder))

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            self._stop()


def steps_of(text: str) -> range:
    """Returns the steps of a `text` such as "20:25". Raises InputError for another text."""
    found = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise InputError(
            f"profile={text!r} is no range of steps; write START:STOP, e.g. 20:25 for five steps"
        )
    return range(int(found[1]), int(found[2]))


def how_to_open(folder: Path) -> str:
    """Returns where the trace in `folder` is and how it is opened."""
    traces = sorted(folder.rglob("perfetto_trace.json.gz"))
    trace = traces[-1] if traces else folder
    return (
        f"trace: {trace}; open it in a browser at https://ui.perfetto.dev, or {folder} in TensorBoard "
        "with its plugin xprof"
    )
