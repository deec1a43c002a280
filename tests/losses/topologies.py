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
AXIS = "devices"


def mesh_of(count: int) -> jax.sharding.Mesh:
    return jax.make_mesh(
        (count,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:count]
    )


def split(batch: Any, count: int) -> Any:
    return jax.tree.map(lambda a: a.reshape(count, -1, *a.shape[1:]), batch)


Run = Callable[[Any, Any], list[Any]]  # (params, batch) -> values and gradients


def by_jit(loss: Loss, count: int) -> Run:
    mesh = mesh_of(count)
    place = partial(jax.device_put, device=NamedSharding(mesh, PartitionSpec(AXIS)))
    program = fast_to_compile(jax.value_and_grad(loss))

    def run(params: Any, batch: Any) -> list[Any]:
        with jax.set_mesh(mesh):
            return [program(params, jax.tree.map(place, batch))]

    return run


def by_mapping(mapping: Callable[..., Any]) -> Callable[[Loss, int], Run]:
    """pmap, or vmap with a named axis."""

    def make(loss: Loss, count: int) -> Run:
        named = partial(loss, axis_name=AXIS)
        options = {"axis_name": AXIS, "in_axes": (None, 0)}
        if mapping is jax.pmap:
            options["devices"] = jax.devices()[:count]

        def outside(params: Any, parts: Any) -> jax.Array:
            return mapping(named, **options)(params, parts).mean()

        outer = fast_to_compile(jax.value_and_grad(outside))
        inner = fast_to_compile(mapping(value_and_mean_gradient(named), **options))

        def run(params: Any, batch: Any) -> list[Any]:
            parts = split(batch, count)
            each = jax.tree.map(np.asarray, inner(params, parts))
            devices = [jax.tree.map(lambda a, i=i: a[i], each) for i in range(count)]
            return [outer(params, parts), *devices]

        return run

    return make


def by_shard_map(check_vma: bool) -> Callable[[Loss, int], Run]:
    def make(loss: Loss, count: int) -> Run:
        named = partial(loss, axis_name=AXIS)
        cut, whole = PartitionSpec(AXIS), PartitionSpec()
        mapped = partial(
            jax.shard_map,
            mesh=mesh_of(count),
            in_specs=(whole, cut),
            out_specs=whole,
            check_vma=check_vma,
        )
        outer = fast_to_compile(jax.value_and_grad(mapped(named)))
        inner = fast_to_compile(mapped(value_and_mean_gradient(named)))
        return lambda params, batch: [outer(params, batch), inner(params, batch)]

    return make


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
    "jit": by_jit,
    "pmap": by_mapping(jax.pmap),
    "vmap": by_mapping(jax.vmap),
    "shard_map": by_shard_map(check_vma=True),
    "shard_map unchecked": by_shard_map(check_vma=False),
}


def relative_error(tree: Any, reference: Any) -> float:
    """Largest norm of a difference, each relative to the norm of its reference."""

    def error(a: jax.Array, b: jax.Array) -> float:
        difference = np.asarray(a) - np.asarray(b)
        return float(np.linalg.norm(difference) / (np.linalg.norm(b) + 1e-12))

    return max(jax.tree.leaves(jax.tree.map(error, tree, reference)))
