"""The library's own step on the devices of this machine: time, memory, and whether it repeats bit by bit."""

import time
from functools import partial
from typing import Any

import jax
import numpy as np

from benchmarks.on_accelerator_parts.cases import CASES, batch_for, make_run, random_rows
from benchmarks.on_accelerator_parts.device import describe_device
from benchmarks.on_accelerator_parts.record import Record
from benchmarks.on_accelerator_parts.windows import time_windows, untimed
from jaxssl.models.layers.attention_choice import choices_made
from jaxssl.sharding.layout import path_of
from jaxssl.sharding.mesh import batch_sharding
from jaxssl.training.flops import step_flops
from jaxssl.training.step import create_state, make_step, place_batch

FIRST_STEPS = 3  # taken twice from the same seed, and before anything is timed


def measure(job: dict[str, Any], record: Record) -> None:
    """Compiles the step of a recipe, times it, and takes its first steps twice.

    Args:
      job: "name" of the case, "batch" of a device or None, "steps" of a window or None, "windows", "tiny",
        and "deadline", a `time.monotonic()`.
      record: Takes each finding as soon as it is known.
    """
    device = describe_device(tiny=job["tiny"])
    record.add(device=device)
    case, count = CASES[job["name"]], device["count"]
    batch = job["batch"] or batch_for(case, device["memory"], tiny=job["tiny"])
    record.add(batch=batch)
    config, spec = make_run(case, batch * count, tiny=job["tiny"])
    flops = step_flops(config.objective, spec).total / count
    record.add(units=spec.units / count, unit=spec.unit, flops=flops)
    run = Run(config, spec)
    record.add(parameters=sum(leaf.size for leaf in jax.tree.leaves(run.state.model)))
    record.add(**run.compile())
    loss, first = run.first_steps()
    record.add(loss=loss)
    deadline = job["deadline"]
    timed = partial(time_windows, windows=job["windows"], steps=job["steps"])
    seconds = timed(run.take, deadline=deadline)
    record.add(seconds=seconds, peak_bytes=peak_bytes(), skipped=untimed(seconds, job["windows"]))
    if time.monotonic() < deadline:
        record.add(**compare(first, run.first_steps()[1]))
    else:
        record.add(skipped=[*record.found["skipped"], "the same steps again"])


class Run:
    """A training run of one configuration on all devices, with one batch that every step takes."""

    def __init__(self, config: Any, spec: Any):
        self.config, self.spec, self.mesh = config, spec, config.mesh.make()
        self.optimizer = config.optimizer.make(config.steps)
        self.rows = place_batch(random_rows(spec), batch_sharding(self.mesh))
        self.state, self.metrics, self.step = self._begin(), {}, None

    def _begin(self) -> Any:
        return create_state(self.config, self.optimizer, self.spec, self.mesh)

    def compile(self) -> dict[str, Any]:
        """Compiles the step. Returns the seconds that took, what computes attention, and the bytes needed."""
        step: Any = make_step(self.config, self.optimizer, self.spec, self.mesh)
        began = time.perf_counter()
        with choices_made() as attention:
            lowered = step.lower(self.state, self.rows)
        traced = time.perf_counter()
        self.step = lowered.compile()
        compiled = time.perf_counter()
        needed = self.step.memory_analysis()
        return {
            "trace_seconds": traced - began,
            "compile_seconds": compiled - traced,
            "attention": [[choice.kernel, choice.reason] for choice in attention],
            "compiler_bytes": needed.argument_size_in_bytes + needed.temp_size_in_bytes,
        }

    def take(self, steps: int) -> None:
        """Takes so many steps and waits for them."""
        for _ in range(steps):
            self.state, self.metrics = self.step(self.state, self.rows)
        jax.block_until_ready((self.state, self.metrics))

    def first_steps(self) -> tuple[float, dict[str, np.ndarray]]:
        """Takes the first steps of a new run. Returns the loss of the last one and the parameters by path."""
        if int(self.state.step):
            self.state = None  # so that one state is in memory, not two
            self.state = self._begin()
        self.take(FIRST_STEPS)
        model = jax.tree_util.tree_flatten_with_path(jax.device_get(self.state.model))[0]
        loss = jax.device_get(self.metrics["loss"]).number()
        return loss, {path_of(keys): leaf for keys, leaf in model}


def compare(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, Any]:
    """Compares the parameters of two runs bit by bit.

    Args:
      first: Parameters by path.
      second: Those of the other run.

    Returns:
      Whether they are identical, the paths of those that are not, and the largest difference.
    """
    differs = [path for path in first if first[path].tobytes() != second[path].tobytes()]
    gaps = [float(np.abs(first[path] - second[path]).max()) for path in differs]
    return {
        "repeats": not differs,
        "differs": differs,
        "largest_difference": max(gaps, default=0.0),
    }


def peak_bytes() -> int | None:
    """Returns the most bytes that any device has held since the process began; None where it is not told."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    return max(
        (one["peak_bytes_in_use"] for one in stats if "peak_bytes_in_use" in one), default=None
    )
