"""Every way to run a loss on devices: value and gradient by both habits, for the tables of tests.

A case is a loss of (params, batch, axis_name): params are replicated, batch is a tree cut along
its first axis.
"""

from collections.abc import Callable
from functools import partial
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


def by_jit(loss: Loss, params: Any, batch: Any, count: int) -> list[Any]:
    mesh = mesh_of(count)
    place = partial(jax.device_put, device=NamedSharding(mesh, PartitionSpec(AXIS)))
    with jax.set_mesh(mesh):
        return [jax.jit(jax.value_and_grad(loss))(params, jax.tree.map(place, batch))]


def by_mapping(mapping: Callable[..., Any]) -> Callable[..., list[Any]]:
    """pmap, or vmap with a named axis."""

    def run(loss: Loss, params: Any, batch: Any, count: int) -> list[Any]:
        named = partial(loss, axis_name=AXIS)

        def inside(params: Any, batch: Any) -> Any:
            value, gradient = jax.value_and_grad(named)(params, batch)
            return value, jax.lax.pmean(gradient, AXIS)

        parts = split(batch, count)
        options = {"axis_name": AXIS, "in_axes": (None, 0)}
        if mapping is jax.pmap:
            options["devices"] = jax.devices()[:count]
        outside = jax.jit(jax.value_and_grad(lambda p: mapping(named, **options)(p, parts).mean()))
        each = jax.jit(mapping(inside, **options))(params, parts)
        each = jax.tree.map(np.asarray, each)
        return [outside(params)] + [jax.tree.map(lambda a, i=i: a[i], each) for i in range(count)]

    return run


def by_shard_map(check_vma: bool) -> Callable[..., list[Any]]:
    def run(loss: Loss, params: Any, batch: Any, count: int) -> list[Any]:
        named = partial(loss, axis_name=AXIS)
        cut, whole = PartitionSpec(AXIS), PartitionSpec()

        def mapped(function: Any) -> Any:
            return jax.shard_map(
                function,
                mesh=mesh_of(count),
                in_specs=(whole, cut),
                out_specs=whole,
                check_vma=check_vma,
            )

        def inside(params: Any, batch: Any) -> Any:
            value, gradient = jax.value_and_grad(named)(params, batch)
            return value, jax.lax.pmean(gradient, AXIS)

        outside = jax.jit(jax.value_and_grad(mapped(named)))
        return [outside(params, batch), jax.jit(mapped(inside))(params, batch)]

    return run


TOPOLOGIES: dict[str, Callable[..., list[Any]]] = {
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
