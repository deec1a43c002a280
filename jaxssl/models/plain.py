"""A model as a plain nested dict of arrays, which goes on disk: it outlives the framework."""

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.errors import InputError
from jaxssl.sharding.layout import path_of

Model = TypeVar("Model")

SHOWN = 12  # mismatches that an error lists


def to_dict(model: Any) -> dict[str, Any]:
    """{"layers": {"attention": {"query": {"kernel": array, ...}}}, ...}; nothing is copied."""
    nested: dict[str, Any] = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(model):
        *folders, name = path_of(keys).split("/")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = leaf
    return nested


def from_dict(template: Model, nested: Mapping[str, Any]) -> Model:
    """The arrays of `nested` in the form of `template`, a model or its `jax.eval_shape`.

    A narrower type (bfloat16 for float32) is widened. Raises `InputError` listing what is missing,
    what is left over, and what has another shape or a wider type.
    """
    given = dict(_flat(nested))
    places, form = jax.tree_util.tree_flatten_with_path(template)
    wanted = [(path_of(keys), leaf) for keys, leaf in places]
    faults = [f"{path}: missing" for path, _ in wanted if path not in given]
    faults += [
        f"{path}: not a parameter of the model"
        for path in sorted(given.keys() - {p for p, _ in wanted})
    ]
    faults += [
        f"{path}: {_form(given[path])} where the model has {_form(leaf)}"
        for path, leaf in wanted
        if path in given and not _fits(given[path], leaf)
    ]
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise InputError(
            f"these are the parameters of another model: {'; '.join(faults[:SHOWN])}{more}. "
            "Pass the configuration that they were saved with"
        )
    return jax.tree.unflatten(form, [_as(given[path], leaf) for path, leaf in wanted])


def _flat(nested: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    rows = []
    for name, value in nested.items():
        rows += (
            _flat(value, f"{above}{name}/")
            if isinstance(value, Mapping)
            else [(f"{above}{name}", value)]
        )
    return rows


def _form(leaf: Any) -> str:
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"


def _fits(given: Any, wanted: Any) -> bool:
    return (
        tuple(given.shape) == tuple(wanted.shape)
        and jnp.promote_types(given.dtype, wanted.dtype) == wanted.dtype
    )


def _as(given: Any, wanted: Any) -> Any:
    array = given if isinstance(given, jax.Array) else jnp.asarray(given)
    return array if array.dtype == wanted.dtype else array.astype(wanted.dtype)
