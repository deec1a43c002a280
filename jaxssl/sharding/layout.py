"""Where every parameter lies: its path -> logical axes (`layout` of a module's class) -> mesh axes.

A network carries its table with it. The class of a module, ours or a user's, may have an attribute

    layout = (
        (r"query/kernel", ("embed", "heads")),   # path below this module, as a regular expression; a logical
        (r"query/bias", ("heads",)),             # axis, or None, for each axis of the array
    )

A pattern is matched against the whole path of a parameter below the module that has the table. Where modules
are nested, the outermost table that matches decides, so that a network may lay out a part of it differently.
"""

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxssl.errors import InputError

Axes = tuple[str | None, ...]
Line = tuple[
    str, Axes
]  # regular expression of a path below the module; logical axis of each array axis
Table = tuple[Line, ...]
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


def axes_of(model: Any) -> dict[str, Axes | None]:
    """Logical axes of every parameter of a model by its path; None where no table has a line for it."""
    tables = sorted(_tables(model, ""), key=lambda found: found[0].count("/"))  # outermost first
    paths = [path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(model)]
    return {path: _first_match(path, tables) for path in paths}


def _tables(node: Any, above: str) -> Iterator[tuple[str, Table]]:
    """The path of every module of a pytree that has a table, ending in a slash, and the table."""
    table = getattr(type(node), "layout", None)
    if isinstance(table, tuple):
        yield above, table
    children, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda part: part is not node)
    for keys, child in children:
        if keys:  # a leaf is its own only child
            yield from _tables(child, f"{above}{path_of(keys)}/")


def _first_match(path: str, tables: Iterable[tuple[str, Table]]) -> Axes | None:
    for above, table in tables:
        below = path.removeprefix(above)
        if above and below == path:
            continue
        for pattern, axes in table:
            if re.fullmatch(pattern, below):
                return axes
    return None


def specs_of(model: Any, mesh: Any, rules: Rules = RULES) -> dict[str, PartitionSpec]:
    """How every parameter of a model (arrays or their shapes) is sharded, by its path.

    A parameter that no table knows is replicated, with one warning that names all of them.
    Raises `InputError` naming parameter, size and mesh axes if a size does not divide.
    """
    shapes = {
        path_of(keys): tuple(leaf.shape)
        for keys, leaf in jax.tree_util.tree_leaves_with_path(model)
    }
    axes = axes_of(model)
    if mesh.size > 1 and (unknown := [path for path in axes if axes[path] is None]):
        warnings.warn(
            f"replicated on every device, since no layout has a line for them: {', '.join(unknown)}; to "
            f'shard one, give the class of its module `layout = ((r"{unknown[0].split("/")[-1]}", '
            f'("embed", None)),)`, a logical axis ({", ".join(rules)}) or None for each array axis',
            stacklevel=2,
        )
    return {path: _spec(path, shape, axes[path], mesh, rules) for path, shape in shapes.items()}


def _spec(
    path: str, shape: tuple[int, ...], axes: Axes | None, mesh: Any, rules: Rules
) -> PartitionSpec:
    if axes is None:
        return PartitionSpec()
    if len(axes) != len(shape):
        raise InputError(f"{path} has shape {shape}, but its layout line has {len(axes)} axes")
    parts: list[tuple[str, ...] | None] = []
    for axis, size in zip(axes, shape, strict=True):
        names, ways = mesh_axes(axis, mesh, rules)
        if size % ways:
            raise InputError(
                f"{path}: its {axis} axis of size {size} does not divide over mesh axis "
                f"{'+'.join(names)} of {ways}; pass a size that is a multiple of {ways}, or "
                "another mesh"
            )
        parts.append(names or None)
    return PartitionSpec(*parts)


def mesh_axes(axis: str | None, mesh: Any, rules: Rules = RULES) -> tuple[tuple[str, ...], int]:
    """The mesh axes that a logical axis is cut over, and into how many parts."""
    names = () if axis is None else tuple(n for n in rules[axis] if mesh.shape.get(n, 1) > 1)
    return names, math.prod(mesh.shape[name] for name in names)


def shardings(model: Any, mesh: Any, rules: Rules = RULES) -> Any:
    """A tree of `NamedSharding` like `model`, whose leaves are arrays or their shapes."""
    specs = specs_of(model, mesh, rules)
    return jax.tree_util.tree_map_with_path(
        lambda keys, _: NamedSharding(mesh, specs[path_of(keys)]), model
    )


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
