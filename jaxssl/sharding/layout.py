"""How every parameter is sharded: its path -> logical axes (`layout` of a module's class) -> mesh axes.

The class of a module, of this library or of a user's own file, may have a class attribute `layout` with
one line for each of its parameters:

    class Scorer(nnx.Module):
        layout = (
            (r"hidden/kernel", ("embed", "mlp")),
            (r"hidden/bias", ("mlp",)),
            (r"scores", ("embed", None)),
        )

        def __init__(self, key, width):
            self.hidden = Linear(key, width, 4 * width, stddev=0.02)
            self.scores = nnx.Param(jnp.zeros((width, 3)))

A line is a regular expression, which must match the whole path of a parameter below the module, and a
logical axis (a key of `RULES`) or None for each axis of the array. None and a logical axis that no mesh
axis is assigned to mean that the axis is not sharded. Parameters in stacked layers have "layers" as their
first axis. Where modules are nested, the outermost table that matches decides, so that a network can lay
out one of its parts differently. A parameter that no line matches is replicated, with a warning.
`axes_of(model)` shows what every parameter gets.
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
# A regular expression of a path below the module, and the logical axis of each array axis.
Line = tuple[str, Axes]
Table = tuple[Line, ...]
Rules = Mapping[str, tuple[str, ...]]

# Logical axis -> mesh axes that it is sharded over. "batch" and "length" are axes of activations; "length" is
# used by networks that are `sequence_parallel`.
RULES: Rules = {
    "batch": ("data", "fsdp"),
    "length": ("tensor",),
    "layers": (),
    "embed": ("fsdp",),
    "vocab": ("tensor",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "mlp": ("tensor",),
}


def path_of(keys: Iterable[Any]) -> str:
    """Returns a path such as `layers/attention/query/kernel` from the `keys` of `jax.tree_util`.

    Flax's last key `value` is left out.
    """
    names = [str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k)))) for k in keys]
    return "/".join(names[:-1] if names[-1:] == ["value"] else names)


def axes_of(model: Any) -> dict[str, Axes | None]:
    """Returns the logical axes of every parameter of a `model` by its path; None where no line matches it."""
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
    """Computes how every parameter of a model is sharded.

    Parameters that no line matches are replicated, with one warning that names all of them.

    Args:
      model: Pytree of modules, whose leaves are arrays or their shapes.
      mesh: Mesh with the axes `data`, `fsdp` and `tensor`, of devices or abstract.
      rules: Mesh axes of each logical axis.

    Returns:
      Partition spec of every parameter by its path.

    Raises:
      InputError: A size does not divide over its mesh axes, or a line has another number of axes than its
        parameter.
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
        raise InputError(
            f"{path} has shape {shape}, but its layout line has {len(axes)} axes; give the line an axis or "
            "None for each axis of the array"
        )
    parts: list[tuple[str, ...] | None] = []
    for axis, size in zip(axes, shape, strict=True):
        names, ways = mesh_axes(axis, mesh, rules)
        if size % ways:
            raise InputError(
                f"{path}: its {axis} axis of size {size} does not divide over mesh axis "
                f"{'+'.join(names)} of {ways}; set it to a multiple of {ways}, or choose another mesh"
            )
        parts.append(names or None)
    return PartitionSpec(*parts)


def mesh_axes(axis: str | None, mesh: Any, rules: Rules = RULES) -> tuple[tuple[str, ...], int]:
    """Finds the mesh axes that a logical axis is sharded over.

    Args:
      axis: Logical axis, a key of `rules`, or `None`.
      mesh: Mesh, of devices or abstract.
      rules: Mesh axes of each logical axis.

    Returns:
      Names of the mesh axes that have more than one device, and the number of shards.
    """
    names = () if axis is None else tuple(n for n in rules[axis] if mesh.shape.get(n, 1) > 1)
    return names, math.prod(mesh.shape[name] for name in names)


def shardings(model: Any, mesh: Any, rules: Rules = RULES) -> Any:
    """Computes the sharding of every parameter of a model.

    Args:
      model: Pytree of modules, whose leaves are arrays or their shapes.
      mesh: Mesh of devices.
      rules: Mesh axes of each logical axis.

    Returns:
      Pytree of `NamedSharding` with the structure of the model.

    Raises:
      InputError: As `specs_of` does.
    """
    specs = specs_of(model, mesh, rules)
    return jax.tree_util.tree_map_with_path(
        lambda keys, _: NamedSharding(mesh, specs[path_of(keys)]), model
    )


def constrain(x: Array, *axes: str | None, rules: Rules = RULES) -> Array:
    """Tells the compiler how an activation is sharded over the surrounding mesh.

    Without a mesh (`jax.set_mesh` or `jax.sharding.use_abstract_mesh`), and inside `shard_map`, nothing
    is done. An axis whose size does not divide is left to the compiler.

    Args:
      x: Activation of any shape, `[...]`.
      axes: Logical axis, or `None` for "not sharded", for each axis of `x`.
      rules: Mesh axes of each logical axis.

    Returns:
      The same activation.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or any(kind != AxisType.Auto for kind in mesh.axis_types):
        return x
    parts: list[Any] = []
    for axis, size in zip(axes, x.shape, strict=True):
        names, ways = mesh_axes(axis, mesh, rules)
        parts.append(PartitionSpec.UNCONSTRAINED if size % ways else names or None)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*parts))
