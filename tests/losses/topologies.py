"""Every way to run a loss on devices: value and gradient by both habits, for the tables of tests.

A case is a loss of (params, batch, axis_name): params are replicated, batch is a tree cut along
its first axis.
"""

import gc
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

Loss = Callable[..., jax.Array]
Function = Callable[[Any, Any], Any]  # (params, batch) -> what each device gives
AXIS = "devices"


def mesh_of(count: int) -> jax.sharding.Mesh:
    return jax.make_mesh(
        (count,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:count]
    )


def split(batch: Any, count: int) -> Any:
    return jax.tree.map(lambda a: a.reshape(count, -1, *a.shape[1:]), batch)


Run = Callable[[Any, Any], list[Any]]  # (params, batch) -> values and gradients


def under_jit(function: Function, count: int) -> Run:
    mesh = mesh_of(count)
    place = partial(jax.device_put, device=NamedSharding(mesh, PartitionSpec(AXIS)))
    program = fast_to_compile(function)

    def run(params: Any, batch: Any) -> list[Any]:
        with jax.set_mesh(mesh):
            return [program(params, jax.tree.map(place, batch))]

    return run


def under_mapping(mapping: Callable[..., Any], function: Function, count: int) -> Run:
    """pmap, or vmap with a named axis: the result of every device."""
    program = fast_to_compile(mapping(function, **mapping_options(mapping, count)))

    def run(params: Any, batch: Any) -> list[Any]:
        each = jax.tree.map(np.asarray, program(params, split(batch, count)))
        return [jax.tree.map(lambda a, i=i: a[i], each) for i in range(count)]

    return run


def mapping_options(mapping: Callable[..., Any], count: int) -> dict[str, Any]:
    options: dict[str, Any] = {"axis_name": AXIS, "in_axes": (None, 0)}
    return options | ({"devices": jax.devices()[:count]} if mapping is jax.pmap else {})


def under_shard_map(check_vma: bool, function: Function, count: int) -> Run:
    program = fast_to_compile(on_mesh(check_vma, function, count))
    return lambda params, batch: [program(params, batch)]


def on_mesh(check_vma: bool, function: Function, count: int) -> Function:
    cut, whole = PartitionSpec(AXIS), PartitionSpec()
    return jax.shard_map(
        function,
        mesh=mesh_of(count),
        in_specs=(whole, cut),
        out_specs=whole,
        check_vma=check_vma,
    )


UNDER: dict[str, Callable[[Function, int], Run]] = {
    "jit": under_jit,
    "pmap": partial(under_mapping, jax.pmap),
    "vmap": partial(under_mapping, jax.vmap),
    "shard_map": partial(under_shard_map, True),
    "shard_map unchecked": partial(under_shard_map, False),
}


def by_mapping(mapping: Callable[..., Any], loss: Loss, count: int) -> Run:
    """Differentiated inside, and outside."""
    named = partial(loss, axis_name=AXIS)
    options = mapping_options(mapping, count)

    def outside(params: Any, parts: Any) -> jax.Array:
        return mapping(named, **options)(params, parts).mean()

    outer = fast_to_compile(jax.value_and_grad(outside))
    inner = under_mapping(mapping, value_and_mean_gradient(named), count)
    return lambda params, batch: [outer(params, split(batch, count)), *inner(params, batch)]


def by_shard_map(check_vma: bool, loss: Loss, count: int) -> Run:
    named = partial(loss, axis_name=AXIS)
    outer = fast_to_compile(jax.value_and_grad(on_mesh(check_vma, named, count)))
    inner = under_shard_map(check_vma, value_and_mean_gradient(named), count)
    return lambda params, batch: [outer(params, batch), *inner(params, batch)]


def value_and_mean_gradient(named: Loss) -> Callable[..., Any]:
    """The habit of those who differentiate inside: lax.pmean(jax.grad(loss))."""

    def inside(params: Any, batch: Any) -> Any:
        value, gradient = jax.value_and_grad(named)(params, batch)
        return value, jax.lax.pmean(gradient, AXIS)

    return inside


def fast_to_compile(function: Callable[..., Any], **sharded: Any) -> Callable[..., Any]:
    """Each program runs once or twice: XLA's time on making it fast would be most of the suite's."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(function, compiler_options=options, **sharded)


@lru_cache(maxsize=1)
def programs(topology: str, loss: Loss, count: int) -> Run:
    """Made once: batches of even and of uneven weights, which follow each other, run the same.

    Not kept longer: the programs of one topology hold 2,000 memory maps, and Linux gives a process
    65,530. The compiler then dies of a segmentation fault.
    """
    gc.collect()
    return TOPOLOGIES[topology](loss, count)


TOPOLOGIES: dict[str, Callable[[Loss, int], Run]] = {
    "jit": lambda loss, count: under_jit(jax.value_and_grad(loss), count),
    "pmap": partial(by_mapping, jax.pmap),
    "vmap": partial(by_mapping, jax.vmap),
    "shard_map": partial(by_shard_map, True),
    "shard_map unchecked": partial(by_shard_map, False),
}


@lru_cache(maxsize=1)
def gradients_on(topology: str, gradients: Callable[..., Any], count: int) -> Run:
    """Of a function that differentiates itself: (params, batch, axis_name) -> value and gradient."""
    gc.collect()
    named = gradients if topology == "jit" else partial(gradients, axis_name=AXIS)
    return UNDER[topology](named, count)


def relative_error(tree: Any, reference: Any) -> float:
    """Largest norm of a difference, each relative to the norm of its reference."""

    def error(a: jax.Array, b: jax.Array) -> float:
        difference = np.asarray(a) - np.asarray(b)
        return float(np.linalg.norm(difference) / (np.linalg.norm(b) + 1e-12))

    return max(jax.tree.leaves(jax.tree.map(error, tree, reference)))
