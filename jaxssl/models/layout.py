"""Where every parameter lies: its path -> logical axes (`LAYOUT` of a model's file) -> mesh axes.

A path reads `layers/attention/query/kernel`; what stands before it (`encoder/`, `0/mu/encoder/`)
does not matter: one table serves the network, the model around it, and the optimizer's moments.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxssl.errors import InputError

Axes = tuple[str | None, ...]
Line = tuple[str, Axes]  # regular expression for the end of a path; logical axis of each array axis
Table = Sequence[Line]
Rules = Mapping[str, tuple[str, ...]]

RULES: Rules = {  # logical axis -> mesh axes that it is cut over
    "batch": ("data", "fsdp"),
    "length": ("tensor",),  # of activations, where a network is `sequence_parallel`
    "layers": (),
    "embed": ("fsdp",),
    "vocab": ("tensor",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "mlp": ("tensor",),
}


def path_of(keys: Iterable[Any]) -> str:
    """`layers/attention/query/kernel` of a key path of `jax.tree_util`, less Flax's `value`."""
    names = [str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k)))) for k in keys]
    return "/".join(names[:-1] if names[-1:] == ["value"] else names)


def axes_of(path: str, tables: Iterable[Table]) -> Axes:
    """Logical axes of the parameter at `path`: the first pattern that matches the end of it.

    Raises `LookupError` for a path that no pattern matches: its model's file lacks a line.
    """
    for table in tables:
        for pattern, axes in table:
            if re.search(rf"(?:^|/)(?:{pattern})$", path):
                return axes
    raise LookupError(f"no layout pattern matches {path}; add one at the end of its model's file")


def spec_of(
    path: str, shape: tuple[int, ...], mesh: Any, tables: Iterable[Table], rules: Rules = RULES
) -> PartitionSpec:
    """How the parameter is cut. Mesh axes that `mesh` lacks count as 1.

    Raises `InputError` naming parameter, size and mesh axes if a size does not divide.
    """
    axes = axes_of(path, tables)
    if len(axes) != len(shape):
        raise ValueError(f"{path} has shape {shape} but its layout line has {len(axes)} axes")
    cuts: list[tuple[str, ...] | None] = []
    for axis, size in zip(axes, shape, strict=True):
        names, ways = mesh_axes(axis, mesh, rules)
        if size % ways:
            raise InputError(
                f"{path}: its {axis} axis of size {size} does not divide over mesh axis "
                f"{'+'.join(names)} of {ways}; pass a size that is a multiple of {ways}, or "
                "another mesh"
            )
        cuts.append(names or None)
    return PartitionSpec(*cuts)


def mesh_axes(axis: str | None, mesh: Any, rules: Rules = RULES) -> tuple[tuple[str, ...], int]:
    """The mesh axes that a logical axis is cut over, and into how many parts."""
    names = () if axis is None else tuple(n for n in rules[axis] if mesh.shape.get(n, 1) > 1)
    return names, math.prod(mesh.shape[name] for name in names)


def shardings(tree: Any, mesh: Any, tables: Iterable[Table], rules: Rules = RULES) -> Any:
    """A tree of `NamedSharding` like `tree` (arrays or their shapes); scalars are replicated."""
    tables = tuple(tables)

    def one(keys: tuple[Any, ...], leaf: Any) -> NamedSharding:
        shape = tuple(leaf.shape)
        spec = spec_of(path_of(keys), shape, mesh, tables, rules) if shape else PartitionSpec()
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(one, tree)


def constrain(x: Array, *axes: str | None, rules: Rules = RULES) -> Array:
    """Tell the compiler how an activation is cut over the mesh of `jax.set_mesh`.

    Does nothing without such a mesh or inside `shard_map`; an axis whose size does not divide is
    left to the compiler.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or any(kind != AxisType.Auto for kind in mesh.axis_types):
        return x
    cuts: list[Any] = []
    for axis, size in zip(axes, x.shape, strict=True):
        names, ways = mesh_axes(axis, mesh, rules)
        cuts.append(PartitionSpec.UNCONSTRAINED if size % ways else names or None)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*cuts))
