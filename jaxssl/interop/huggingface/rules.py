"""Which tensor of a Hugging Face folder holds which parameters of ours: one table for both directions.

    rules = (
        Rule("embeddings.word_embeddings.weight", ("encoder/tokens/embedding",)),
        Rule("encoder.layer.{layer}.output.dense.weight", ("encoder/layers/mlp/down/kernel",), TRANSPOSED),
    )
    read_parameters(rules, open_tensors(folder), jax.eval_shape(make_model, key))

Paths are those of `jaxssl.models.plain.to_dict`, joined by slashes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.tensor_files import TensorFiles
from jaxssl.sharding.layout import path_of

LAYER = "{layer}"
EXACT = ("float32", "float16", "bfloat16")  # types whose numbers float32 holds without rounding


@dataclass(frozen=True)
class Arrangement:
    """How the numbers of a tensor of theirs are arranged in parameters of ours: a pair of functions.

    Each undoes the other, bit for bit. They are given the tensor of one layer, which is mapped into memory:
    functions that return views of it (a transpose, a slice) read no more of it than is used.
    """

    inward: Callable[[np.ndarray], tuple[np.ndarray, ...]]
    """Tensor -> one array for each parameter of ours."""
    outward: Callable[[Sequence[np.ndarray]], np.ndarray]
    """These arrays -> tensor."""


SAME = Arrangement(lambda tensor: (tensor,), lambda arrays: arrays[0])
"""One parameter with the same axes."""
TRANSPOSED = Arrangement(lambda tensor: (tensor.T,), lambda arrays: arrays[0].T)
"""One dense kernel: theirs is `[out, in]` (torch), ours `[in, out]`."""


def split(*sizes: int, axis: int = 0, transposed: bool = False) -> Arrangement:
    """Makes the arrangement of a tensor that several parameters are fused in, one behind the other.

    Args:
      sizes: Sizes of the parts along `axis`.
      axis: Axis of their tensor.
      transposed: Whether ours are the transposes of the parts.
    """
    bounds = [sum(sizes[:count]) for count in range(1, len(sizes))]

    def inward(tensor: np.ndarray) -> tuple[np.ndarray, ...]:
        if tensor.ndim <= axis or tensor.shape[axis] != sum(sizes):
            raise ValueError(f"axis {axis} must have the size {sum(sizes)}")
        parts = np.split(tensor, bounds, axis)
        return tuple(part.T for part in parts) if transposed else tuple(parts)

    def outward(arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([array.T if transposed else array for array in arrays], axis)

    return Arrangement(inward, outward)


@dataclass(frozen=True)
class Rule:
    """Says which tensor of a folder holds which parameters of ours, and how its numbers are arranged."""

    theirs: str
    """Name of the tensor. With `{layer}` in it, it stands for one tensor a layer, and ours have a leading
    axis of layers."""
    ours: tuple[str, ...]
    """Paths of our parameters; several where theirs is fused."""
    arrangement: Arrangement = SAME
    """How the numbers are arranged."""
    aliases: tuple[str, ...] = ()
    """Other names under which a file may hold the same tensor (tied weights). They are read where `theirs` is
    missing, and never written."""
    copies: tuple[str, ...] = ()
    """Names of further tensors that are written with the same numbers, and read where `theirs` is missing."""
    absent_layers: tuple[int, ...] = ()
    """Layers that have no such tensor, such as the first norm of ModernBERT. Ours hold `filler` there."""
    filler: float = 1.0
    """What parameters of absent layers hold; they are not used."""
    zeros: bool = False
    """Whether the tensor stands for no parameter and may hold zeros alone; ours tell `outward` its shape."""


@dataclass(frozen=True)
class _Source:
    """What a parameter of ours is read from."""

    rule: Rule
    part: int
    """Which of the arrays of the rule it is."""
    names: tuple[str, ...]
    """Names of the tensors, one a layer; empty for an absent layer."""


def read_parameters(
    rules: Sequence[Rule], files: TensorFiles, template: Any, *, sharding: Any = None
) -> tuple[dict[str, jax.Array], list[str]]:
    """Reads parameters tensor by tensor, straight into (sharded) arrays.

    Args:
      rules: The table. A parameter has at most one rule.
      files: The tensors, by the names of the table.
      template: Pytree of shapes (`jax.eval_shape`) with the structure of the parameters.
      sharding: Sharding of every array, or a pytree of shardings like the template; None puts all arrays on
        the first device of this host.

    Returns:
      The parameters that were found, by path, in the types of the template; and the names of the tensors
      that are missing, with the paths of parameters that have no rule.

    Raises:
      InputError: A tensor has another shape than the configuration asks for, or a type that would be
        rounded, or some layers have it and others do not.
    """
    for rule in rules:
        if rule.zeros and rule.theirs in files.tensors and np.any(files.view(rule.theirs)):
            raise InputError(
                f"{rule.theirs} of {files.folder} holds numbers other than 0, which jaxssl does not compute "
                "with: an import would change numbers, so there is none"
            )
    leaves = jax.tree_util.tree_leaves_with_path(template)
    shapes = {path_of(keys): leaf for keys, leaf in leaves}
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    is_one = isinstance(sharding, jax.sharding.Sharding)
    own = [sharding] * len(leaves) if is_one else jax.tree.leaves(sharding)
    sources = _sources(rules, shapes)
    found: dict[str, jax.Array] = {}
    missing: list[str] = []
    for (path, leaf), one in zip(shapes.items(), own, strict=True):
        source = sources.get(path)
        lacking = [path] if source is None else _lacking(source, files)
        missing += [name for name in lacking if name not in missing]
        if source is not None and not lacking:
            found[path] = _read(source, path, leaf, files, one)
    return found, missing


def write_parameters(
    rules: Sequence[Rule], model: Any, *, dtype: Any = np.float32
) -> Iterator[tuple[str, np.ndarray]]:
    """Arranges parameters as tensors of a Hugging Face folder, one after another.

    Args:
      rules: The table.
      model: Pytree of parameters.
      dtype: Type of the tensors, that which they had when they were read.

    Yields:
      Name of a tensor, and the tensor.
    """
    leaves = {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(model)}
    for rule in rules:
        arrays = [np.asarray(leaves[path]) for path in rule.ours]
        layers = range(len(arrays[0])) if LAYER in rule.theirs else (None,)
        for layer in layers:
            if layer in rule.absent_layers:
                continue
            parts = arrays if layer is None else [array[layer] for array in arrays]
            tensor = rule.arrangement.outward(parts)
            tensor = np.ascontiguousarray(tensor, dtype).reshape(tensor.shape)
            for name in (rule.theirs, *rule.copies):
                yield name.replace(LAYER, str(layer)), tensor


def names_of(rules: Sequence[Rule], template: Any) -> dict[str, tuple[str, ...]]:
    """Returns the names of all tensors of a table, each with the other names that it may have.

    Args:
      rules: The table.
      template: Pytree with the structure of the parameters, which says how many layers there are.
    """
    shapes = {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(template)}
    names: dict[str, tuple[str, ...]] = {}
    for rule in rules:
        layers = shapes[rule.ours[0]].shape[0] if LAYER in rule.theirs else 1
        for layer in range(layers):
            if layer not in rule.absent_layers or LAYER not in rule.theirs:
                here = rule.theirs.replace(LAYER, str(layer))
                names[here] = tuple(
                    alias.replace(LAYER, str(layer)) for alias in (*rule.copies, *rule.aliases)
                )
    return names


def _sources(rules: Sequence[Rule], shapes: Mapping[str, Any]) -> dict[str, _Source]:
    """What every parameter is read from, by path."""
    sources: dict[str, _Source] = {}
    for rule in rules:
        for part, path in enumerate(() if rule.zeros else rule.ours):
            if path not in shapes or path in sources:
                problem = "has two rules" if path in sources else "is no parameter of the model"
                raise ValueError(f"{path}, of the tensor {rule.theirs}, {problem}")
            layers = range(shapes[path].shape[0]) if LAYER in rule.theirs else range(1)
            absent = rule.absent_layers if LAYER in rule.theirs else ()
            names = tuple(
                "" if layer in absent else rule.theirs.replace(LAYER, str(layer))
                for layer in layers
            )
            sources[path] = _Source(rule, part, names)
    return sources


def _lacking(source: _Source, files: TensorFiles) -> list[str]:
    """The tensors of a parameter that are missing: all or none."""
    wanted = [name for name in source.names if name]
    lacking = [name for name in wanted if name not in files.tensors]
    if lacking and len(lacking) < len(wanted):
        raise InputError(
            f"{files.folder} holds {len(wanted) - len(lacking)} of {len(wanted)} layers of "
            f"{source.rule.theirs}, and {lacking[0]} is missing; download the folder again, or set the "
            "number of layers in its config.json to that of its tensors"
        )
    return lacking


def _read(source: _Source, path: str, leaf: Any, files: TensorFiles, sharding: Any) -> jax.Array:
    """Reads one parameter, each device's part of it by itself."""
    is_stacked = LAYER in source.rule.theirs
    wanted = tuple(leaf.shape[1:] if is_stacked else leaf.shape)
    for name in filter(None, source.names):
        _check(source, name, path, wanted, files)

    def part(name: str) -> np.ndarray:
        return source.rule.arrangement.inward(files.view(name))[source.part]

    def read(index: Any) -> np.ndarray:  # a slice for each axis
        sizes = [
            len(range(*one.indices(size))) for one, size in zip(index, leaf.shape, strict=True)
        ]
        shard = np.empty(sizes, leaf.dtype)
        if not is_stacked:
            shard[...] = part(source.names[0])[index]
            return shard
        for row, layer in enumerate(range(*index[0].indices(leaf.shape[0]))):
            name = source.names[layer]
            shard[row] = part(name)[index[1:]] if name else source.rule.filler
        return shard

    return jax.make_array_from_callback(tuple(leaf.shape), sharding, read)


def _check(
    source: _Source, name: str, path: str, wanted: tuple[int, ...], files: TensorFiles
) -> None:
    """Raises InputError where a tensor does not fit; nothing of it is read."""
    view = files.view(name)
    try:
        shape = source.rule.arrangement.inward(view)[source.part].shape
        problem = f"{list(shape)} where {list(wanted)} is wanted" if shape != wanted else ""
    except (ValueError, IndexError) as error:
        problem = str(error)
    if problem:
        raise InputError(
            f"{files.tensors[name].file}: the tensor {name} of shape {list(view.shape)} does not fit its "
            f"config.json ({problem}, for {path}); take both from the same folder"
        )
    if view.dtype.name not in EXACT:
        raise InputError(
            f"{files.tensors[name].file}: the tensor {name} is {view.dtype}, and converting it to "
            "float32 would change its numbers, or needs scales that are not read; save it in float32, "
            "float16 or bfloat16"
        )
