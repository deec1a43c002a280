"""What a run would take on devices that are not here: memory, collectives, time, checkpoints.

The step that is compiled is that of `train.py` (`make_step`), for the devices of a topology; nothing
runs. Without a compiler for the target, what can be counted from shapes alone is there all the same.
"""

import math
import multiprocessing
import pickle
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax.sharding import AbstractMesh

from jaxssl.data.images import ImageSpec
from jaxssl.data.rows import TextSpec
from jaxssl.errors import InputError
from jaxssl.models.layers.attention_choice import Choice, choices_made
from jaxssl.optimizers.host_moments import is_on_host
from jaxssl.planning import refusals
from jaxssl.planning.assumed_rows import assumed_rows
from jaxssl.planning.collectives import Total, collectives_of, totals
from jaxssl.planning.estimate import Estimate, estimate
from jaxssl.planning.program_text import read_program
from jaxssl.planning.targets import NoCompiler, Target, check_compiler, target_devices
from jaxssl.planning.traffic import memory_traffic
from jaxssl.sharding.mesh import rows_of_hosts
from jaxssl.training.config import Pretraining
from jaxssl.training.flops import step_flops
from jaxssl.training.step import TrainState, abstract_batch, abstract_state, make_step

Spec = TextSpec | ImageSpec


@dataclass(frozen=True)
class Counts:
    """What shapes alone tell."""

    parameters: int
    flops: float  # of a step (`training/flops.py`), a multiply-add is two
    executed: float  # with what remat computes twice
    state: int  # bytes of the whole state: that of a checkpoint
    state_per_device: int
    units: int  # tokens of a step, or images


@dataclass(frozen=True)
class Memory:
    """Bytes of one device."""

    arguments: int  # the state and the batch
    temporaries: int
    host: int  # of its host's memory: moments that wait there; not of the device
    output: int  # what is not written over the arguments
    program: int
    limit: float  # what a program may use

    @property
    def total(self) -> int:
        return self.arguments + self.temporaries + self.output + self.program


@dataclass(frozen=True)
class Measured:
    """What the compiled program tells."""

    memory: Memory
    attention: list[Choice]  # each that is in the step, once
    collectives: list[Total]
    traffic: float  # bytes of memory that one device moves in a step
    estimate: Estimate | None
    host_rows: int  # of a batch, that the host which reads most reads
    seconds: float  # that tracing and compiling took


@dataclass(frozen=True)
class Plan:
    """All that `jaxssl plan` tells."""

    target: Target
    mesh: dict[str, int]
    batch: int
    microbatches: int
    steps: int
    rows: str  # in words
    shape: dict[str, int]  # of a row
    unit: str  # what is counted: tokens or images
    rows_from: str
    counts: Counts
    measured: Measured | None
    not_compiled: str  # why there is no `measured`


def make_plan(
    config: Pretraining,
    target: Target,
    *,
    length: int | None = None,
    vocab_size: int | None = None,
    size: tuple[int, int] | None = None,
) -> Plan:
    """Raises InputError for what cannot work, with the reason and a way out."""
    spec, rows_from = assumed_rows(config, length, vocab_size, size)
    sizes = mesh_sizes(config, target)
    refusals.check_batch(config, sizes)
    refusals.check_heads(config, sizes)
    refusals.check_slices(sizes, target)
    if target.chip is None:
        target_devices(target)  # before anything computes: CPU devices are made once
    counts = count(config, spec, sizes)
    refusals.check_state(counts.state_per_device, config, sizes, target)
    measured, reason = None, ""
    try:
        check_compiler(target)
        compiled_where = measure if target.chip is None else measure_apart
        measured = compiled_where(config, spec, target, counts)
    except NoCompiler as error:
        reason = str(error)
    return Plan(
        target=target,
        mesh=sizes,
        batch=config.data.batch,
        microbatches=config.microbatches,
        steps=config.steps,
        rows=spec.in_words,
        shape=shape_of(spec),
        unit=spec.unit,
        rows_from=rows_from,
        counts=counts,
        measured=measured,
        not_compiled=reason,
    )


def largest_microbatch(
    config: Pretraining,
    target: Target,
    *,
    length: int | None = None,
    vocab_size: int | None = None,
    size: tuple[int, int] | None = None,
) -> Pretraining:
    """The config with as few microbatches as fit, by bisection: log2(divisors) compilations.

    Raises InputError where not even one row of a device fits.
    """
    sizes = mesh_sizes(config, target)
    refusals.check_batch(replace(config, microbatches=1), sizes)
    rows = config.data.batch // (sizes["data"] * sizes["fsdp"])
    counts = [m for m in range(1, rows + 1) if rows % m == 0]

    def attempt(index: int) -> InputError | None:
        try:
            candidate = replace(config, microbatches=counts[index])
            plan = make_plan(candidate, target, length=length, vocab_size=vocab_size, size=size)
        except refusals.DoesNotFit as error:
            return error
        if plan.measured is None:
            raise InputError(f"--search compiles, and cannot: {plan.not_compiled}")
        return None

    low, high = 0, len(counts) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if attempt(middle) else (low, middle)
    if low == len(counts) - 1 and (error := attempt(low)):
        raise error
    return replace(config, microbatches=counts[low])


def shape_of(spec: Spec) -> dict[str, int]:
    """The numbers that describe a row of text, or an image with its caption."""
    if isinstance(spec, TextSpec):
        return {"length": spec.length, "vocab_size": spec.vocab_size}
    captions = {} if spec.captions is None else shape_of(spec.captions)
    return {"height": spec.height, "width": spec.width, "channels": spec.channels, **captions}


def mesh_sizes(config: Pretraining, target: Target) -> dict[str, int]:
    """Devices on each axis of the target."""
    return config.mesh.sizes(target.device_count, target.text)


def count(config: Pretraining, spec: Spec, sizes: dict[str, int]) -> Counts:
    """Parameters, FLOPs and bytes by the shapes of the state and the tables of axes."""
    mesh: Any = AbstractMesh(tuple(sizes.values()), tuple(sizes))
    state = abstract_state(config, config.optimizer.make(config.steps), spec, mesh)
    flops = step_flops(config.objective, spec)
    remats = {network.remat for network in refusals.networks(config.objective).values()}
    return Counts(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.model)),
        flops=flops.total,
        executed=flops.total + flops.differentiated * ("full" in remats),
        state=sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)),
        state_per_device=device_bytes(state),
        units=spec.units,
    )


def device_bytes(tree: Any) -> int:
    """Of abstract arrays with shardings, on one device; not those in its host's memory."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
        if not is_on_host(leaf.sharding)
    )


def measure_apart(config: Pretraining, spec: Spec, target: Target, counts: Counts) -> Measured:
    """`measure` in a process of its own: there are programs of which libtpu dies, and takes it along.

    Raises NoCompiler where it does.
    """
    try:
        pickle.dumps(config)
    except (pickle.PicklingError, AttributeError, ImportError):  # a recipe with classes of its own
        return measure(config, spec, target, counts)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _without_devices) as pool:
        try:
            return pool.submit(measure, config, spec, target, counts).result()
        except BrokenProcessPool as error:
            ways = [
                f"--objective.{name}.dropout 0"
                for name, network in refusals.networks(config.objective).items()
                if network.dropout
            ]
            ways.append("another --mesh or another version of the compiler")
            raise NoCompiler(
                f"the compiler for {target.text} died of this step; try {', or '.join(ways)}"
            ) from error


def _without_devices() -> None:
    jax.config.update("jax_platforms", "cpu")  # asks for no accelerator, also where there is one


def measure(config: Pretraining, spec: Spec, target: Target, counts: Counts) -> Measured:
    """Compiles the step for the target's devices, and reads the program."""
    began = time.perf_counter()
    sizes = mesh_sizes(config, target)
    mesh = config.mesh.make(target_devices(target))
    hosts = rows_of_hosts(mesh, spec.batch).values()
    with choices_made() as attention:
        state, compiled = compile_step(config, spec, mesh, target, counts)
    memory = memory_of(compiled, target)
    refusals.check_memory(memory.total, counts.state_per_device, config, sizes, target)
    rows = device_bytes(abstract_batch(spec, mesh))
    refusals.check_layout(memory.arguments, memory.output, counts.state_per_device + rows)
    program = read_program(compiled.as_text())
    collectives = collectives_of(program, mesh.size)
    length = spec.length if isinstance(spec, TextSpec) else None
    refusals.check_sharding(program, collectives, state.model, config, sizes, length)
    traffic = memory_traffic(program)
    return Measured(
        memory=memory,
        attention=attention,
        collectives=totals(collectives),
        traffic=traffic,
        estimate=estimate(
            target,
            list(mesh.devices.flat),
            collectives,
            flops=counts.flops,
            executed=counts.executed,
            traffic=traffic,
            units=counts.units,
        ),
        host_rows=max(sum(map(len, parts)) for parts in hosts),
        seconds=time.perf_counter() - began,
    )


def compile_step(
    config: Pretraining, spec: Spec, mesh: Any, target: Target, counts: Counts
) -> tuple[TrainState, Any]:
    """The abstract state, and the compiled step that takes it."""
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
    """Of one device; what is donated counts once."""
    stats = compiled.memory_analysis()
    return Memory(
        arguments=stats.argument_size_in_bytes,
        temporaries=stats.temp_size_in_bytes,
        host=stats.host_argument_size_in_bytes + stats.host_temp_size_in_bytes,
        output=stats.output_size_in_bytes - stats.alias_size_in_bytes,
        program=stats.generated_code_size_in_bytes,
        limit=target.memory,
    )
