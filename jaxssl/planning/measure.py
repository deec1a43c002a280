"""Compiles the training step for a target, and reads memory, collectives and time from the program.

The step is that of `train.py` (`make_step`). Nothing runs, and the target's devices need not exist here.
"""

import multiprocessing
import pickle
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import jax

from jaxssl.data.rows import TextSpec
from jaxssl.models.layers.attention_choice import Choice, choices_made
from jaxssl.planning import refusals, replication
from jaxssl.planning.collectives import Total, collectives_of, totals
from jaxssl.planning.counts import Counts, Spec, device_bytes, mesh_sizes
from jaxssl.planning.estimate import Estimate, estimate
from jaxssl.planning.forecast import Forecast, forecast
from jaxssl.planning.program_text import read_program
from jaxssl.planning.schedule import write_trace
from jaxssl.planning.source_lines import SourceLines
from jaxssl.planning.targets import NoCompiler, Target, target_devices
from jaxssl.planning.traffic import memory_traffic
from jaxssl.sharding.mesh import rows_of_hosts
from jaxssl.training.compiler_options import in_words
from jaxssl.training.config import Pretraining
from jaxssl.training.step import TrainState, abstract_batch, abstract_state, make_step


@dataclass(frozen=True)
class Memory:
    """Memory of one device, in bytes."""

    arguments: int
    """Bytes of the training state and the batch."""
    temporaries: int
    """Bytes of intermediate results, at their peak."""
    host: int
    """Bytes in the host's memory for this device (`host_moments`); they are not part of the total."""
    output: int
    """Bytes of results that do not reuse the memory of the arguments."""
    program: int
    """Bytes of the compiled code."""
    limit: float
    """Bytes that a program may use on the device."""

    @property
    def total(self) -> int:
        """Returns the bytes of the device that a step needs."""
        return self.arguments + self.temporaries + self.output + self.program


@dataclass(frozen=True)
class Measured:
    """What is known from the compiled program."""

    memory: Memory
    """Memory of one device."""
    attention: list[Choice]
    """How attention is computed: each different choice in the step, once."""
    collectives: list[Total]
    """Collectives of a step, by kind."""
    traffic: float
    """Bytes that one device reads from and writes to its memory in a step."""
    estimate: Estimate | None
    """Shortest possible time of a step; None for CPUs."""
    forecast: Forecast | None
    """Time of a step by the compiler's own cycles; None where it writes none, as for CPUs and GPUs."""
    compiler_options: str
    """Options with which the step was compiled, as `--compiler-options` takes them."""
    host_rows: int
    """Rows of a batch that a host reads; the largest number of all hosts."""
    seconds: float
    """Seconds that tracing and compiling took."""


def measure_apart(
    config: Pretraining, spec: Spec, target: Target, counts: Counts, trace: str = ""
) -> Measured:
    """Runs `measure` in a process of its own, since libtpu may crash on a program.

    Args:
      config: Configuration of the run. If it cannot be pickled, this process does the work.
      spec: Description of the batches.
      target: The devices.
      counts: What is known from shapes alone.
      trace: File to write the schedule to, as `measure` does; empty for none.

    Returns:
      What `measure` returns.

    Raises:
      NoCompiler: The compiler crashed.
      InputError: The step does not fit into memory, or is not laid out as the tables say.
    """
    try:
        pickle.dumps(config)
    except (pickle.PicklingError, AttributeError, ImportError):  # a recipe with classes of its own
        return measure(config, spec, target, counts, trace)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _without_devices) as pool:
        try:
            return pool.submit(measure, config, spec, target, counts, trace).result()
        except BrokenProcessPool as error:
            ways = [
                f"objective.{name}.dropout=0"
                for name, network in refusals.networks(config.objective).items()
                if network.dropout
            ]
            ways.append("another mesh or another version of the compiler")
            raise NoCompiler(
                f"the compiler for {target.text} crashed on this step; try {', or '.join(ways)}"
            ) from error


def _without_devices() -> None:
    """Keeps JAX from using an accelerator of this machine."""
    jax.config.update("jax_platforms", "cpu")


def measure(
    config: Pretraining, spec: Spec, target: Target, counts: Counts, trace: str = ""
) -> Measured:
    """Compiles the step for the target's devices, checks it, and reads the program.

    Args:
      config: Configuration of the run.
      spec: Description of the batches.
      target: The devices.
      counts: What is known from shapes alone.
      trace: File to write the schedule of the step to, for a trace viewer; empty for none.

    Returns:
      What the compiled program says about memory, collectives and time.

    Raises:
      InputError: The step does not fit into memory, or is not laid out as the tables say.
    """
    began = time.perf_counter()
    sizes = mesh_sizes(config, target)
    mesh = config.mesh.make(target_devices(target))
    hosts = rows_of_hosts(mesh, spec.batch).values()
    with choices_made() as attention:
        state, compiled = compile_step(config, spec, mesh, target, counts)
    memory = memory_of(compiled, target)
    refusals.check_memory(memory.total, counts.state_per_device, config, sizes, target)
    rows = device_bytes(abstract_batch(spec, mesh))
    replication.check_layout(memory.arguments, memory.output, counts.state_per_device + rows)
    text = compiled.as_text()
    program, lines = read_program(text), SourceLines(text)
    collectives = collectives_of(program, mesh.size)
    length = spec.length if isinstance(spec, TextSpec) else None
    replication.check_sharding(program, collectives, state.model, config, sizes, length)
    traffic = memory_traffic(program)
    roofline = estimate(
        target,
        list(mesh.devices.flat),
        collectives,
        flops=counts.flops,
        executed=counts.executed,
        traffic=traffic,
        units=counts.units,
    )
    found = None
    if target.chip is not None and roofline is not None:
        flops = counts.flops / mesh.size
        found = forecast(program, lines, target.chip, flops=flops, exposed=roofline.exposed)
    if trace:
        write_trace(trace, program, lines, target.chip)
    return Measured(
        memory=memory,
        attention=attention,
        collectives=totals(collectives),
        traffic=traffic,
        estimate=roofline,
        forecast=found,
        compiler_options=in_words(config, mesh),
        host_rows=max(sum(map(len, parts)) for parts in hosts),
        seconds=time.perf_counter() - began,
    )


def compile_step(
    config: Pretraining, spec: Spec, mesh: Any, target: Target, counts: Counts
) -> tuple[TrainState, Any]:
    """Compiles the training step.

    Args:
      config: Configuration of the run.
      spec: Description of the batches.
      mesh: Mesh of the target's devices.
      target: The devices.
      counts: What is known from shapes alone.

    Returns:
      The abstract training state, and the compiled step that takes it.

    Raises:
      DoesNotFit: The compiler reports that the step needs too much memory.
    """
    optimizer = config.optimizer.make(config.steps)
    state = abstract_state(config, optimizer, spec, mesh)
    step: Any = make_step(config, optimizer, spec, mesh)
    lowered = step.lower(state, abstract_batch(spec, mesh))
    try:
        return state, lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        asked = refusals.memory_asked(str(error))
        if "RESOURCE_EXHAUSTED" not in str(error) or asked is None:
            raise
        raise refusals.does_not_fit(
            *asked, counts.state_per_device, config, mesh_sizes(config, target), target
        ) from error


def memory_of(compiled: Any, target: Target) -> Memory:
    """Reads the memory that a compiled step needs on one device; donated arguments count once.

    Args:
      compiled: The compiled step.
      target: The devices, for their limit.
    """
    stats = compiled.memory_analysis()
    return Memory(
        arguments=stats.argument_size_in_bytes,
        temporaries=stats.temp_size_in_bytes,
        host=stats.host_argument_size_in_bytes + stats.host_temp_size_in_bytes,
        output=stats.output_size_in_bytes - stats.alias_size_in_bytes,
        program=stats.generated_code_size_in_bytes,
        limit=target.memory,
    )
