"""Where every parameter lives: its path -> logical axes (each model file's `LAYOUT`) -> axes of the mesh (`RULES`).

A path reads `layers/attention/query/kernel`; what stands before it (`encoder/`, `0/mu/encoder/`) does not matter, so one
table serves the model, the objective's model around it, and the optimizer's moments.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxssl.errors import InputError

Axes = tuple[str | None, ...]
Table = Sequence[
    tuple[str, Axes]
]  # (regular expression for the end of a path, one logical axis or None per array axis)

RULES: Mapping[str, tuple[str, ...]] = {  # logical axis -> mesh axes that it is cut over
    "batch": ("data", "fsdp"),
    "layers": (),
    "embed": ("fsdp",),
    "vocab": ("tensor",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "mlp": ("tensor",),
}


def path_of(keys: Iterable[Any]) -> str:
    """`layers/attention/query/kernel` of a key path of `jax.tree_util`, without the variable's own `value`."""
    names = [str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k)))) for k in keys]
    return "/".join(names[:-1] if names[-1:] == ["value"] else names)


def axes_of(path: str, tables: Iterable[Table]) -> Axes:
    """Logical axes of the parameter at `path`, from the first pattern that matches the end of it.

    Raises `KeyError` for a path that no pattern matches: the model's file lacks a line.
    """
    for table in tables:
        for pattern, axes in table:
            if re.search(rf"(?:^|/)(?:{pattern})$", path):
                return axes
    raise KeyError(
        f"no pattern of the layout tables matches parameter {path}; add one at the end of its model's file"
    )


def spec_of(
    path: str,
    shape: tuple[int, ...],
    mesh: Any,
    tables: Iterable[Table],
    rules: Mapping[str, tuple[str, ...]] = RULES,
) -> PartitionSpec:
    """How the parameter is cut. Mesh axes that `mesh` lacks count as 1.

    Raises `InputError` naming parameter, size and mesh axes if a size does not divide.
    """
    axes = axes_of(path, tables)
    if len(axes) != len(shape):
        raise ValueError(
            f"{path} has shape {shape} but its layout line names {len(axes)} axes: {axes}"
        )
    cuts: list[tuple[str, ...] | None] = []
    for axis, size in zip(axes, shape, strict=True):
        names = () if axis is None else tuple(n for n in rules[axis] if mesh.shape.get(n, 1) > 1)
        ways = 1
        for name in names:
            ways *= mesh.shape[name]
        if size % ways:
            raise InputError(
                f"{path}: its {axis} axis of size {size} does not divide over mesh axis {'+'.join(names)} of {ways}; "
                f"pass a size that is a multiple of {ways}, or another mesh"
            )
        cuts.append(names or None)
    return PartitionSpec(*cuts)


def shardings(
    tree: Any, mesh: Any, tables: Iterable[Table], rules: Mapping[str, tuple[str, ...]] = RULES
) -> Any:
    """A tree of `NamedSharding` like `tree` (arrays or their shapes); scalars are replicated."""
    tables = tuple(tables)

    def one(keys: tuple[Any, ...], leaf: Any) -> NamedSharding:
        shape = tuple(leaf.shape)
        spec = spec_of(path_of(keys), shape, mesh, tables, rules) if shape else PartitionSpec()
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(one, tree)


def constrain(x: Array, *axes: str | None, rules: Mapping[str, tuple[str, ...]] = RULES) -> Array:
    """Ask the compiler to cut an activation by its logical axes over the mesh of `jax.set_mesh`.

    Does nothing without such a mesh, inside `shard_map`, and along an axis whose size does not divide.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or any(kind != AxisType.Auto for kind in mesh.axis_types):
        return x
    cuts: list[tuple[str, ...] | None] = []
    for axis, size in zip(axes, x.shape, strict=True):
        names = () if axis is None else tuple(n for n in rules[axis] if mesh.shape.get(n, 1) > 1)
        ways = 1
        for name in names:
            ways *= mesh.shape[name]
        cuts.append(names if names and size % ways == 0 else None)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*cuts))
